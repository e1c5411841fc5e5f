import * as z from 'zod'
import { knownFields } from '../../core/imports/schema.ts'
import type { KubeClient } from '../../kube/client.ts'
import { fieldOf } from '../../kube/failure.ts'
import { IMPORTS_PATH } from '../../kube/import-calls.ts'
import { get, type QueryResult, query } from './api-server.ts'
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

/** Whether the CRD is installed, serves the version that the plugin reads, and has all fields that it knows. */
export async function checkCrd(client: KubeClient, signal: AbortSignal): Promise<Verdict> {
  const result = await get(client, `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${NAME}`, signal)
  if (result.state === 'missing') return fail(`${NAME} is not installed`, INSTALL)
  if (result.state === 'denied') return checkServed(client, result, signal)
  return verdictOf(crdSchema.parse(result.body))
}

/** The plugin's own service account may list imports, but not read CRDs. */
async function checkServed(
  client: KubeClient,
  { reason }: Extract<QueryResult, { reason: string }>,
  signal: AbortSignal,
): Promise<Verdict> {
  const call = { method: 'GET', path: IMPORTS_PATH, query: { limit: '1' } } as const
  const result = await query(client, call, signal)
  if (result.state === 'missing') return fail(`${NAME} is not installed in version ${VERSION}`, INSTALL)
  if (result.state === 'denied') return skipped(`you may neither read it nor list imports: ${reason}`)
  return ok(`${VERSION} is served (you may not read its schema)`)
}

function verdictOf(crd: Crd): Verdict {
  const version = crd.spec.versions.find(({ name, served }) => name === VERSION && served)
  if (version === undefined) {
    const served = crd.spec.versions.filter((other) => other.served).map(({ name }) => name)
    return fail(`version ${VERSION} is not served; served versions: ${served.join(', ') || 'none'}`, INSTALL)
  }
  const isEstablished = crd.status?.conditions.some(
    ({ type, status }) => type === 'Established' && status === 'True',
  )
  if (!isEstablished) return fail(`${NAME} is not established`, `kubectl describe crd ${NAME}`)
  const label = crd.metadata.labels[VERSION_LABEL]
  const served = `${VERSION} is served${label ? `, installed with release ${label}` : ''}`
  const missing = missingFields(fieldOf(version.schema, 'openAPIV3Schema'))
  if (missing.length === 0) return ok(served)
  return warn(
    `${served}; older than this program, it lacks ${missing.join(', ')}: the API server drops or rejects these fields`,
    INSTALL,
  )
}

/** Fields that this program reads but the schema lacks. */
function missingFields(schema: unknown): string[] {
  return Object.entries(knownFields).flatMap(([place, names]) => {
    const object = place.split('.').filter(Boolean).reduce<unknown>(step, schema)
    // A missing object is reported once, by its own name.
    if (object === undefined || fieldOf(object, 'x-kubernetes-preserve-unknown-fields') === true) return []
    const properties = fieldOf(object, 'properties')
    const absent = names.filter((name) => place !== '' && fieldOf(properties, name) === undefined)
    return absent.map((name) => `${place}.${name}`)
  })
}

/** `files[]` stands for the items of the list `files`. */
function step(schema: unknown, name: string): unknown {
  const isList = name.endsWith('[]')
  const property = fieldOf(fieldOf(schema, 'properties'), isList ? name.slice(0, -2) : name)
  return isList ? fieldOf(property, 'items') : property
}
