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

/** What was read is taken for true this long, in milliseconds: a CA changes rarely, and both old and new are in it. */
const KEPT_MS = 60_000
/** Names of keys that a fault lists. */
const MOST_KEYS = 50
/** What nobody asked for in this time is forgotten, in milliseconds. */
const FORGOTTEN_MS = 60 * 60_000
/** Characters of all that is held: what one namespace has over and above others goes first. */
const MOST_HELD = 4 * 1024 * 1024

/** Of each resource its switch in the chart's values. */
const places = {
  ConfigMap: {
    resource: 'configmaps',
    setting: 'rbac.configMaps=true in the Helm values (get on configmaps)',
  },
  Secret: { resource: 'secrets', setting: 'rbac.secrets=true in the Helm values (get on secrets)' },
} satisfies Record<CaCertRef['kind'], { resource: string; setting: string }>

/** A key of an object, and the field of the import that leads to it. */
type Ref = CaCertRef & { field: 'spec.caCertRef' | 'spec.appRole.secretIdRef' }

/** Times of the monotonic clock. */
type Held = { namespace: string; pem: string; readAt: number; askedAt: number }

/**
 * ConfigMaps and Secrets that imports refer to. Read when asked for, never watched: the plugin needs no list of
 * anybody's Secrets. While the API server is away, what was read last goes on being true.
 */
export function createKubeReferences(deps: {
  client: KubeClient
  clock: Pick<Clock, 'monotonic'>
}): References {
  const { client, clock } = deps
  const held = new Map<string, Held>()
  const collapse = createCollapse<string>()
  const collapseSecretIds = createCollapse<SecretText>()

  async function read(key: string, namespace: string, ref: Ref, signal: AbortSignal): Promise<string> {
    const last = held.get(key)
    try {
      const pem = pemOf(namespace, ref, await send(client, namespace, ref, signal))
      const now = clock.monotonic()
      // Last in order, for what was read longest ago goes first.
      held.delete(key)
      held.set(key, { namespace, pem, readAt: now, askedAt: now })
      dropMost(held)
      return pem
    } catch (error) {
      if (last !== undefined && error instanceof FaultError && error.retry === 'soon') return last.pem
      throw error
    }
  }

  function forgetOld(): void {
    const before = clock.monotonic() - FORGOTTEN_MS
    for (const [key, { askedAt }] of held) if (askedAt < before) held.delete(key)
  }

  return {
    async caCert(namespace, ref, signal) {
      forgetOld()
      const key = keyOf(namespace, ref)
      const last = held.get(key)
      const now = clock.monotonic()
      if (last !== undefined) last.askedAt = now
      if (last !== undefined && now - last.readAt < KEPT_MS) return last.pem
      const asked: Ref = { ...ref, field: 'spec.caCertRef' }
      return collapse.share(key, (shared) => read(key, namespace, asked, shared), signal)
    },
    async secretId(namespace, { name, key }, signal) {
      const ref: Ref = { kind: 'Secret', name, key, field: 'spec.appRole.secretIdRef' }
      // Kept nowhere: it is a credential, and the one that was replaced must not be tried again.
      const ask = async (shared: AbortSignal) =>
        secretIdOf(namespace, ref, await send(client, namespace, ref, shared))
      return collapseSecretIds.share(keyOf(namespace, ref), ask, signal)
    },
  }
}

async function send(client: KubeClient, namespace: string, ref: Ref, signal: AbortSignal): Promise<Answer> {
  const { field } = ref
  const { resource, setting } = places[ref.kind]
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

/** Until what is held is little enough: of the namespace that holds most, what was read longest ago. */
function dropMost(held: Map<string, Held>): void {
  for (;;) {
    const sizes = new Map<string, number>()
    for (const { namespace, pem } of held.values())
      sizes.set(namespace, (sizes.get(namespace) ?? 0) + pem.length)
    const all = [...sizes.values()].reduce((sum, size) => sum + size, 0)
    if (all <= MOST_HELD) return
    const [most] = [...sizes].sort(([, a], [, b]) => b - a)
    for (const [key, { namespace }] of held) {
      if (namespace !== most?.[0]) continue
      held.delete(key)
      break
    }
  }
}

/** The object's content never stands in a fault: it may be a Secret. */
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
  // Who makes a Secret with --from-file or an editor has a newline at its end, which no secret ID has.
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
