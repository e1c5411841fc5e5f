import { randomUUID } from 'node:crypto'

type Answer = { status: number; body?: unknown }
type Call = { method: string; path: string; contentType: string; body: unknown }
type Owner = { kind: string; name: string; uid: string }

export type FakeSecret = {
  metadata: {
    name: string
    uid: string
    resourceVersion: string
    labels?: Record<string, string>
    annotations?: Record<string, string>
    ownerReferences?: Owner[]
  }
  type: string
  immutable?: boolean
  data: Record<string, string>
}

/** Secrets and pods as an API server keeps them, as far as the plugin relies on it: versions, UIDs, merge patches. */
export class FakeSecrets {
  readonly secrets = new Map<string, FakeSecret>()
  /** Phases of pods, by namespace/name. */
  readonly pods = new Map<string, { uid: string; phase: string }>()
  /** Of POST and PATCH that were taken. */
  writes = 0
  #version = 1000

  /** By namespace/name; made or edited by others too. */
  put(id: string, change: Partial<Omit<FakeSecret, 'metadata'>> & { metadata?: object }): void {
    const found = this.secrets.get(id)
    this.secrets.set(id, {
      type: 'Opaque',
      data: {},
      ...found,
      ...change,
      metadata: {
        name: id.split('/')[1] ?? '',
        uid: found?.metadata.uid ?? randomUUID(),
        ...found?.metadata,
        ...change.metadata,
        resourceVersion: String(++this.#version),
      },
    })
  }

  get(id: string): FakeSecret {
    const found = this.secrets.get(id)
    if (found === undefined) throw new Error(`no Secret ${id}`)
    return found
  }

  /** Values as text. */
  values(id: string): Record<string, string> {
    const decode = (value: string) => Buffer.from(value, 'base64').toString()
    return Object.fromEntries(Object.entries(this.get(id).data).map(([key, value]) => [key, decode(value)]))
  }

  owners(id: string): string[] {
    return (this.get(id).metadata.ownerReferences ?? []).map(({ uid }) => uid).sort()
  }

  /** As the garbage collector does when a pod is gone. */
  podGone(uid: string): void {
    for (const [id, { metadata }] of this.secrets) {
      if (metadata.ownerReferences?.some((owner) => owner.uid === uid) !== true) continue
      const ownerReferences = metadata.ownerReferences.filter((owner) => owner.uid !== uid)
      if (ownerReferences.length > 0) this.put(id, { metadata: { ownerReferences } })
      else this.secrets.delete(id)
    }
  }

  answer(call: Call): Answer | undefined {
    const [, namespace, resource, name] =
      /^\/api\/v1\/namespaces\/([^/]+)\/(secrets|pods)(?:\/([^/]+))?$/.exec(call.path) ?? []
    if (resource === undefined) return undefined
    const id = `${namespace}/${name}`
    if (resource === 'pods') return this.#pod(id)
    if (call.method === 'POST') return this.#create(namespace ?? '', call.body as FakeSecret)
    if (call.method === 'PATCH') return this.#patch(id, call)
    const found = this.secrets.get(id)
    return found === undefined ? failure(404, 'NotFound') : { status: 200, body: found }
  }

  #pod(id: string): Answer {
    const pod = this.pods.get(id)
    return pod === undefined
      ? failure(404, 'NotFound')
      : { status: 200, body: { metadata: { uid: pod.uid }, status: { phase: pod.phase } } }
  }

  #create(namespace: string, body: FakeSecret): Answer {
    const id = `${namespace}/${body.metadata.name}`
    if (this.secrets.has(id)) return failure(409, 'AlreadyExists')
    // Go reads null as an empty text where a text is wanted.
    const texts = Object.entries(body.metadata.annotations ?? {}).map(([key, value]) => [key, value ?? ''])
    this.put(id, { ...body, metadata: { ...body.metadata, annotations: Object.fromEntries(texts) } })
    this.writes += 1
    return { status: 201, body: this.get(id) }
  }

  #patch(id: string, { contentType, body }: Call): Answer {
    const found = this.secrets.get(id)
    if (found === undefined) return failure(404, 'NotFound')
    if (contentType !== 'application/strategic-merge-patch+json') return failure(415, 'UnsupportedMediaType')
    const { metadata, data } = body as { metadata: FakeSecret['metadata']; data?: FakeSecret['data'] }
    if (metadata.uid !== found.metadata.uid) return invalid('metadata.uid')
    if (metadata.resourceVersion !== undefined && metadata.resourceVersion !== found.metadata.resourceVersion)
      return failure(409, 'Conflict')
    if (data !== undefined && found.immutable) return invalid('data')
    this.put(id, {
      data: withoutNulls({ ...found.data, ...data }),
      metadata: {
        annotations: withoutNulls({ ...found.metadata.annotations, ...metadata.annotations }),
        ownerReferences: merged(found.metadata.ownerReferences ?? [], metadata.ownerReferences ?? []),
      },
    })
    this.writes += 1
    return { status: 200, body: this.get(id) }
  }
}

function merged(old: readonly Owner[], patch: readonly (Owner & { $patch?: string })[]): Owner[] {
  const named = new Set(patch.map(({ uid }) => uid))
  return [...old.filter(({ uid }) => !named.has(uid)), ...patch.filter(({ $patch }) => $patch !== 'delete')]
}

function withoutNulls(object: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null))
}

function invalid(field: string): Answer {
  const causes = [{ reason: 'FieldValueInvalid', field }]
  return failure(422, 'Invalid', { causes })
}

function failure(code: number, reason: string, details: object = {}): Answer {
  return { status: code, body: { kind: 'Status', status: 'Failure', code, reason, message: reason, details } }
}
