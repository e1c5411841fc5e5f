import * as z from 'zod'
import { knownFields } from '../../core/imports/schema.ts'
import type { KubeClient } from '../../kube/client.ts'
import { fieldOf } from '../../kube/failure.ts'
import { IMPORTS_PATH } from '../../kube/import-calls.ts'
import { type Asked, ask, get } from './ask.ts'
import { fail, ok, skipped, type Verdict, warn } from './report.ts'

const NAME = 'secretsstoreimports.deckhouse.io'
const VERSION = 'v1alpha1'
const VERSION_LABEL = 'app.kubernetes.io/version'
const INSTALL = 'kubectl apply --server-side -f deploy/crd/secretsstoreimports.yaml'

const crdSchema = z.object({
  metadata: z.object({ labels: z.record(z.string(), z.string()).default({}) }),
  spec: z.object({
    versions: z.array(z.object({ name: z.string(), served: z.boolean(), schema: z.unknown() })),
  }),
  status: z
    .object({ conditions: z.array(z.object({ type: z.string(), status: z.string() })).default([]) })
    .optional(),
})

type Crd = z.output<typeof crdSchema>

/** Whether imports can be written, in the version that is read, with all fields that this program knows. */
export async function checkCrd(client: KubeClient, signal: AbortSignal): Promise<Verdict> {
  const asked = await get(client, `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${NAME}`, signal)
  if (asked.state === 'missing') return fail(`${NAME} is not installed`, INSTALL)
  if (asked.state === 'denied') return checkServed(client, asked, signal)
  return judge(crdSchema.parse(asked.body))
}

/** The plugin's own service account may list imports and knows nothing of definitions. */
async function checkServed(
  client: KubeClient,
  { words }: Extract<Asked, { words: string }>,
  signal: AbortSignal,
): Promise<Verdict> {
  const call = { method: 'GET', path: IMPORTS_PATH, query: { limit: '1' } } as const
  const asked = await ask(client, call, signal)
  if (asked.state === 'missing') return fail(`${NAME} is not installed in version ${VERSION}`, INSTALL)
  if (asked.state === 'denied') return skipped(`you may neither read it nor list imports: ${words}`)
  return ok(`${VERSION} is served (its schema you may not read)`)
}

function judge(crd: Crd): Verdict {
  const version = crd.spec.versions.find(({ name, served }) => name === VERSION && served)
  if (version === undefined) {
    const served = crd.spec.versions.filter((other) => other.served).map(({ name }) => name)
    return fail(`version ${VERSION} is not served; there are: ${served.join(', ') || 'none'}`, INSTALL)
  }
  const isEstablished = crd.status?.conditions.some(
    ({ type, status }) => type === 'Established' && status === 'True',
  )
  if (!isEstablished) return fail('it is not established', `kubectl describe crd ${NAME}`)
  const label = crd.metadata.labels[VERSION_LABEL]
  const served = `${VERSION} is served${label ? `, installed with release ${label}` : ''}`
  const lacking = lackingFields(fieldOf(version.schema, 'openAPIV3Schema'))
  if (lacking.length === 0) return ok(served)
  return warn(
    `${served}; older than this program, for it knows no ${lacking.join(', ')}: the API server drops or refuses them`,
    INSTALL,
  )
}

/** Fields that this program reads and the schema does not have. */
function lackingFields(schema: unknown): string[] {
  return Object.entries(knownFields).flatMap(([place, names]) => {
    const object = place.split('.').filter(Boolean).reduce<unknown>(step, schema)
    // A whole object that is missing is told once, by its own name.
    if (object === undefined || fieldOf(object, 'x-kubernetes-preserve-unknown-fields') === true) return []
    const properties = fieldOf(object, 'properties')
    const missing = names.filter((name) => place !== '' && fieldOf(properties, name) === undefined)
    return missing.map((name) => `${place}.${name}`)
  })
}

/** `files[]` is what stands in the list `files`. */
function step(schema: unknown, name: string): unknown {
  const isList = name.endsWith('[]')
  const property = fieldOf(fieldOf(schema, 'properties'), isList ? name.slice(0, -2) : name)
  return isList ? fieldOf(property, 'items') : property
}
