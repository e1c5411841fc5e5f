import { createCollapse } from '../core/collapse.ts'
import { FaultError } from '../core/faults/fault.ts'
import { endBefore } from '../core/identity.ts'
import type { CaCertRef } from '../core/imports/import.ts'
import { certificatesFault } from '../core/pem.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { References } from '../core/ports/kubernetes.ts'
import { SecretText } from '../core/secret.ts'
import type { Answer, KubeClient } from './client.ts'
import { describeAnswer, describeError, fieldOf, isPassing } from './failure.ts'

/** In milliseconds: a CA changes rarely, and a bundle holds both the old and the new one. */
const CACHE_MS = 60_000
/** Names of keys that a fault lists. */
const MOST_KEYS = 50
/** Entries unused for this long are dropped, in milliseconds. */
const UNUSED_MS = 60 * 60_000
/** Characters of all entries: those of the namespace that has most are dropped first. */
const MOST_CACHED = 4 * 1024 * 1024

/** Each resource with its switch in the chart's values. */
const resources = {
  ConfigMap: {
    resource: 'configmaps',
    setting: 'rbac.configMaps=true in the Helm values (get on configmaps)',
  },
  Secret: { resource: 'secrets', setting: 'rbac.secrets=true in the Helm values (get on secrets)' },
} satisfies Record<CaCertRef['kind'], { resource: string; setting: string }>

/** A key of an object, and the field of the import that leads to it. */
type Ref = CaCertRef & { field: 'spec.caCertRef' | 'spec.appRole.secretIdRef' }

/** Times of the monotonic clock. */
type CachedPem = { namespace: string; pem: string; readAt: number; usedAt: number }

/**
 * ConfigMaps and Secrets that imports refer to. Read on request, never watched: the plugin needs no right
 * to list Secrets. While the API server is down, the last CA stays in use.
 */
export function createKubeReferences(deps: {
  client: KubeClient
  clock: Pick<Clock, 'monotonic'>
}): References {
  const { client, clock } = deps
  const cached = new Map<string, CachedPem>()
  const collapse = createCollapse<string>()
  const collapseSecretIds = createCollapse<SecretText>()

  async function read(key: string, namespace: string, ref: Ref, signal: AbortSignal): Promise<string> {
    const last = cached.get(key)
    try {
      const pem = pemOf(namespace, ref, await send(client, namespace, ref, signal))
      const now = clock.monotonic()
      // The order of the map is that of reading: the oldest entry is dropped first.
      cached.delete(key)
      cached.set(key, { namespace, pem, readAt: now, usedAt: now })
      dropMost(cached)
      return pem
    } catch (error) {
      if (last !== undefined && error instanceof FaultError && error.retry === 'soon') return last.pem
      throw error
    }
  }

  function dropUnused(): void {
    const before = clock.monotonic() - UNUSED_MS
    for (const [key, { usedAt }] of cached) if (usedAt < before) cached.delete(key)
  }

  return {
    async caCert(namespace, ref, signal) {
      dropUnused()
      const key = keyOf(namespace, ref)
      const last = cached.get(key)
      const now = clock.monotonic()
      if (last !== undefined) last.usedAt = now
      if (last !== undefined && now - last.readAt < CACHE_MS) return last.pem
      const caRef: Ref = { ...ref, field: 'spec.caCertRef' }
      return collapse.share(key, (shared) => read(key, namespace, caRef, shared), signal)
    },
    async secretId(namespace, { name, key }, signal) {
      const ref: Ref = { kind: 'Secret', name, key, field: 'spec.appRole.secretIdRef' }
      // Never cached: it is a credential, and one that was replaced must not be used again.
      const ask = async (shared: AbortSignal) =>
        secretIdOf(namespace, ref, await send(client, namespace, ref, shared))
      return collapseSecretIds.share(keyOf(namespace, ref), ask, signal)
    },
  }
}

async function send(client: KubeClient, namespace: string, ref: Ref, signal: AbortSignal): Promise<Answer> {
  const { field } = ref
  const { resource, setting } = resources[ref.kind]
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/${resource}/${encodeURIComponent(ref.name)}`
  const answer = await client.call({ method: 'GET', path }, signal).catch((error: unknown) => {
    signal.throwIfAborted()
    const reason = `${show(namespace, ref)}: the API server at ${client.server}: ${describeError(error)}`
    throw new FaultError('reference_unavailable', { field, reason }, error)
  })
  if (answer.status === 200) return answer
  if (answer.status === 404) throw missing(ref, `${show(namespace, ref)} does not exist`)
  const reason = `${show(namespace, ref)}: the API server answered ${describeAnswer(answer)}`
  const known = isPassing(answer) || answer.status === 401 ? {} : { setting }
  throw new FaultError('reference_unavailable', { field, reason, ...known })
}

/** Until what is cached is little enough: of the namespace that holds most, what was read longest ago. */
function dropMost(cached: Map<string, CachedPem>): void {
  for (;;) {
    const sizes = new Map<string, number>()
    for (const { namespace, pem } of cached.values())
      sizes.set(namespace, (sizes.get(namespace) ?? 0) + pem.length)
    const all = [...sizes.values()].reduce((sum, size) => sum + size, 0)
    if (all <= MOST_CACHED) return
    const [most] = [...sizes].sort(([, a], [, b]) => b - a)
    for (const [key, { namespace }] of cached) {
      if (namespace !== most?.[0]) continue
      cached.delete(key)
      break
    }
  }
}

/** A fault never quotes the object's content: it may be a Secret. */
function textOf(namespace: string, ref: Ref, { body }: Answer): string {
  const data = fieldOf(body, 'data')
  const value = fieldOf(data, ref.key)
  if (typeof value !== 'string') {
    const keys = typeof data === 'object' && data !== null ? Object.keys(data).sort() : []
    const known = `${keys.slice(0, MOST_KEYS).join(', ') || 'none'}${keys.length > MOST_KEYS ? ', …' : ''}`
    throw missing(ref, `${show(namespace, ref)} has no key "${ref.key}"; there are: ${known}`)
  }
  return ref.kind === 'Secret' ? Buffer.from(value, 'base64').toString('utf8') : value
}

function pemOf(namespace: string, ref: Ref, answer: Answer): string {
  const pem = textOf(namespace, ref, answer)
  const fault = certificatesFault(pem)
  if (fault !== undefined) throw missing(ref, `key "${ref.key}" of ${show(namespace, ref)} ${fault}`)
  return pem
}

function secretIdOf(namespace: string, ref: Ref, answer: Answer): SecretText {
  // A Secret created with --from-file or an editor ends in a newline, which no secret ID does.
  const content = textOf(namespace, ref, answer)
  const text = content.slice(0, endBefore(content, '\r\n'))
  if (text === '') throw missing(ref, `key "${ref.key}" of ${show(namespace, ref)} is empty`)
  return new SecretText(text)
}

function missing({ field }: Ref, reason: string): FaultError {
  return new FaultError('reference_missing', { field, reason })
}

function keyOf(namespace: string, { kind, name, key }: CaCertRef): string {
  return JSON.stringify([namespace, kind, name, key])
}

function show(namespace: string, { kind, name }: CaCertRef): string {
  return `${kind} "${namespace}/${name}"`
}
