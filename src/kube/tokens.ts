import { createCollapse } from '../core/collapse.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Pod, ServiceAccountToken } from '../core/ports/pod.ts'
import { SecretText } from '../core/secret.ts'
import type { Answer, KubeClient } from './client.ts'
import { describeAnswer, describeError, fieldOf, isPassing } from './failure.ts'

/** kubelet's default. The token ends with its pod in any case; a longer life means fewer calls. */
const LIFE_SECONDS = 3600
/** A token is cached for this part of its life; kubelet renews at the same point. */
const USED_LIFE = 0.8

/** Cached tokens; a node has some hundreds of pods and few audiences. */
const MOST_CACHED = 2_000

/** What the plugin's ClusterRole must grant for it. */
const GRANT = 'create on serviceaccounts/token'

export type TokenRequests = {
  /**
   * A token of the pod's service account for `audience`, bound to the pod. Equal concurrent requests share one call.
   * @throws FaultError token_missing when the API server refuses, token_unavailable when it is down; the signal's reason
   */
  request(pod: Pod, audience: string, signal: AbortSignal): Promise<ServiceAccountToken>
}

/** @property staleAt of the monotonic clock */
type CachedToken = { token: ServiceAccountToken; staleAt: number }

/** For audiences that are not among the CSIDriver's tokenRequests. Tokens are cached in memory only. */
export function createTokenRequests(deps: {
  client: KubeClient
  clock: Pick<Clock, 'now' | 'monotonic'>
}): TokenRequests {
  const { client, clock } = deps
  const cached = new Map<string, CachedToken>()
  const collapse = createCollapse<ServiceAccountToken>()

  async function fetchToken(
    key: string,
    pod: Pod,
    audience: string,
    signal: AbortSignal,
  ): Promise<ServiceAccountToken> {
    const requestedAt = { wall: clock.now(), monotonic: clock.monotonic() }
    const answer = await send(client, pod, audience, signal)
    const token = readToken(answer)
    if (token === undefined) throw refusal(pod, audience, answer)
    // The API server may grant a shorter life; by a wrong clock of ours it may seem longer.
    const lifeMs = Math.min(token.expiresAt - requestedAt.wall, LIFE_SECONDS * 1000)
    cached.set(key, { token, staleAt: requestedAt.monotonic + lifeMs * USED_LIFE })
    const [oldest] = cached.keys()
    if (cached.size > MOST_CACHED && oldest !== undefined) cached.delete(oldest)
    return token
  }

  function dropStale(): void {
    const now = clock.monotonic()
    for (const [key, { staleAt }] of cached) if (staleAt <= now) cached.delete(key)
  }

  return {
    async request(pod, audience, signal) {
      dropStale()
      const key = JSON.stringify([pod.namespace, pod.serviceAccount, pod.uid, audience])
      const token = cached.get(key)?.token
      if (token !== undefined) return token
      return collapse.share(key, (shared) => fetchToken(key, pod, audience, shared), signal)
    },
  }
}

async function send(client: KubeClient, pod: Pod, audience: string, signal: AbortSignal): Promise<Answer> {
  const path = `/api/v1/namespaces/${encodeURIComponent(pod.namespace)}/serviceaccounts/${encodeURIComponent(pod.serviceAccount)}/token`
  const body = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: {
      audiences: [audience],
      expirationSeconds: LIFE_SECONDS,
      boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod.name, uid: pod.uid },
    },
  }
  try {
    return await client.call({ method: 'POST', path, body }, signal)
  } catch (error) {
    signal.throwIfAborted()
    throw new FaultError(
      'token_unavailable',
      { ...factsOf(pod, audience), reason: `the API server at ${client.server}: ${describeError(error)}` },
      error,
    )
  }
}

function readToken({ status, body }: Answer): ServiceAccountToken | undefined {
  const token = fieldOf(fieldOf(body, 'status'), 'token')
  const expires = fieldOf(fieldOf(body, 'status'), 'expirationTimestamp')
  const expiresAt = typeof expires === 'string' ? Date.parse(expires) : Number.NaN
  if (status !== 201 || typeof token !== 'string' || token === '' || Number.isNaN(expiresAt)) return undefined
  return { token: new SecretText(token), expiresAt }
}

function refusal(pod: Pod, audience: string, answer: Answer): FaultError {
  const facts = factsOf(pod, audience)
  if (answer.status === 201)
    return new FaultError('token_unavailable', {
      ...facts,
      reason: 'the answer to TokenRequest holds no token',
    })
  const words = describeAnswer(answer)
  if (isPassing(answer) || answer.status === 401) {
    const { retryAfterMs } = answer
    const wait = retryAfterMs === undefined ? {} : { retryAfterMs }
    return new FaultError('token_unavailable', {
      ...facts,
      ...wait,
      reason: `the API server answered ${words}`,
    })
  }
  if (answer.status === 403) {
    return new FaultError('token_missing', {
      ...facts,
      reason: `kubelet passed no token for audience "${audience}", and the plugin may not request one itself (RBAC: ${words})`,
      setting: GRANT,
    })
  }
  return new FaultError('token_missing', {
    ...facts,
    reason: `a token for audience "${audience}" was refused: ${words}`,
  })
}

function factsOf(pod: Pod, audience: string) {
  return { podNamespace: pod.namespace, serviceAccount: pod.serviceAccount, audience }
}
