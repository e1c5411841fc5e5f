import { createCollapse } from '../core/collapse.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Identity, SecretData, SecretStore } from '../core/ports/vault.ts'
import type { Connections } from './connections.ts'
import { readPath } from './read.ts'
import type { VaultToken } from './response-data.ts'
import type { TokenRevocations } from './token-revocations.ts'
import type { Tokens } from './tokens.ts'

/** Vault or OpenBao over HTTP. Keeps Vault tokens; keeps no secret once its callers have their response. */
export function createSecretStore(deps: {
  connections: Connections
  tokens: Tokens
  revocations: TokenRevocations
  clock: Clock
}): SecretStore {
  const { connections, tokens, revocations, clock } = deps
  const reads = createCollapse<SecretData>()

  const get = (identity: Identity, path: string, token: VaultToken, signal: AbortSignal) =>
    // Without naming the token a caller with a fresh token would join the read that is being refused for the old one.
    reads.share(
      `${identity.key}\n${token.accessor} ${token.issuedAt}\n${path}`,
      (shared) => readPath(connections, clock, identity, path, token, shared),
      signal,
    )

  return {
    read: (identity, path, candidates, signal) =>
      tokens.use(identity, candidates, signal, async (access) => {
        try {
          const data = await get(identity, path, access.token, signal)
          access.worked(path)
          return data
        } catch (error) {
          if (!isDenial(error)) throw error
          const other = await access.replace(path)
          if (!other) throw error
          return await get(identity, path, other, signal).catch((again: unknown) => {
            if (isDenial(again)) access.deniedAgain(path)
            throw again
          })
        }
      }),
    discardToken: tokens.discard,
    authority: connections.authority,
    acquire: tokens.acquire,
    release: tokens.release,
    close: async () => {
      revocations.stop()
      connections.close()
    },
  }
}

function isDenial(error: unknown): boolean {
  return error instanceof FaultError && error.fault === 'read_denied'
}
