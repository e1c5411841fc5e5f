import type { ImportSource } from '../core/ports/imports.ts'
import type { LedgerEntry } from '../core/ports/volume.ts'

type User = Pick<LedgerEntry, 'pod' | 'importName' | 'targetPath'>

/** Which volumes use an import, those in their first publish included: with the last one the import is not watched any more. */
export type ImportUsers = {
  add(user: User): void
  /** Idempotent; also for a refresh that asked for the import after its volume was gone. */
  remove(user: User): void
}

export function createImportUsers({ imports }: { imports: Pick<ImportSource, 'forget'> }): ImportUsers {
  const users = new Map<string, Set<string>>()
  const keyOf = ({ pod, importName }: User) => `${pod.namespace}/${importName}`
  return {
    add(user) {
      const key = keyOf(user)
      users.set(key, (users.get(key) ?? new Set()).add(user.targetPath))
    },
    remove(user) {
      const key = keyOf(user)
      const others = users.get(key)
      others?.delete(user.targetPath)
      if (others !== undefined && others.size > 0) return
      users.delete(key)
      imports.forget(user.pod.namespace, user.importName)
    },
  }
}
