import { toFault } from '../core/faults/fault.ts'
import { pickToken } from '../core/identity.ts'
import type { ImportSpec } from '../core/imports/import.ts'
import type { References, TokenSource } from '../core/ports/kubernetes.ts'
import type { Pod, ServiceAccountToken } from '../core/ports/pod.ts'
import type { Identity } from '../core/ports/vault.ts'
import type { Volumes } from './volumes.ts'

/** The service-account tokens and secret IDs that a pod may log in with. */
export type Logins = {
  /**
   * Runs the task with the tokens at hand, and when they are not enough again with one from the API server: a secret ID,
   * or a token for an audience of the import's own. The API server is not asked while a Vault token is valid.
   * @throws FaultError token_*, reference_*, and what the task throws
   */
  run<T>(
    who: { spec: ImportSpec; identity: Identity; pod: Pod; tokens: ReadonlyMap<string, ServiceAccountToken> },
    signal: AbortSignal,
    task: (tokens: readonly ServiceAccountToken[]) => Promise<T>,
  ): Promise<T>
}

type Who = Parameters<Logins['run']>[0]

export function createLogins(deps: {
  tokenSource: TokenSource
  references: References
  volumes: Pick<Volumes, 'ofIdentity'>
}): Logins {
  const { tokenSource, references, volumes } = deps

  /** The pod's own token first; another pod of the same identity may hold a younger one. */
  function atHand({ identity, tokens }: Who): ServiceAccountToken[] {
    if (identity.method === 'approle') return []
    const best = pickToken(tokens, identity.audience)
    const others: ServiceAccountToken[] = []
    for (const volume of volumes.ofIdentity(identity.key)) {
      const token = pickToken(volume.tokensByAudience, identity.audience)
      if (token !== undefined && token !== best) others.push(token)
    }
    others.sort((a, b) => b.expiresAt - a.expiresAt)
    return best === undefined ? others.slice(0, 3) : [best, ...others.slice(0, 2)]
  }

  async function furtherToken(
    { spec, identity, pod }: Who,
    signal: AbortSignal,
  ): Promise<ServiceAccountToken | undefined> {
    if (spec.appRole !== undefined) {
      const token = await references.secretId(pod.namespace, spec.appRole.secretIdRef, signal)
      return { token, expiresAt: Number.POSITIVE_INFINITY }
    }
    return identity.audience === '' ? undefined : tokenSource.request(pod, identity.audience, signal)
  }

  return {
    async run(who, signal, task) {
      const known = atHand(who)
      try {
        return await task(known)
      } catch (error) {
        if (toFault(error).fault !== 'token_missing') throw error
        const further = await furtherToken(who, signal)
        if (further === undefined) throw error
        return await task([further, ...known])
      }
    },
  }
}
