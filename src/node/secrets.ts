import type { IssueRequest } from '../core/imports/calls.ts'
import type { ImportSpec } from '../core/imports/import.ts'
import { perVolumeFiles } from '../core/imports/needs.ts'
import type { SyncedSecret } from '../core/ports/kubernetes.ts'
import type { LedgerEntry, RenderedFile } from '../core/ports/volume.ts'

/** The Kubernetes Secrets that an import wants kept in step with these files; a file that is absent leaves its key out. */
export function wantedSecrets(
  spec: ImportSpec,
  of: {
    entry: Pick<LedgerEntry, 'pod' | 'importName'>
    requests: readonly IssueRequest[]
    fetchedAt: number
  },
  files: readonly RenderedFile[],
): SyncedSecret[] {
  const own = perVolumeFiles(
    spec,
    of.requests,
    files.map(({ name }) => name),
  )
  const byName = new Map(files.map(({ name, content }) => [name, content]))
  return spec.secretSync.map(({ name, type, deletionPolicy, data }) => ({
    namespace: spec.namespace,
    name,
    type,
    deletionPolicy,
    importName: of.entry.importName,
    pod: of.entry.pod,
    data: new Map(
      data.flatMap(({ key, file }) => {
        const content = byName.get(file)
        return content === undefined ? [] : [[key, content] as const]
      }),
    ),
    fetchedAt: of.fetchedAt,
    isPerVolume: data.some(({ file }) => own.has(file)),
  }))
}
