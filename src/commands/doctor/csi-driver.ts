import * as z from 'zod'
import type { KubeClient } from '../../kube/client.ts'
import { get } from './api-server.ts'
import { fail, ok, type Report, skipped, type Verdict, valueIn, warn } from './report.ts'

/** With the API server's defaults. */
const specSchema = z.object({
  attachRequired: z.boolean().default(true),
  podInfoOnMount: z.boolean().default(false),
  requiresRepublish: z.boolean().default(false),
  fsGroupPolicy: z.string().default('ReadWriteOnceWithFSType'),
  volumeLifecycleModes: z.array(z.string()).default(['Persistent']),
  tokenRequests: z.array(z.object({ audience: z.string().default('') })).default([]),
})

export type CsiDriverSpec = z.output<typeof specSchema>

type Rule = {
  field: keyof CsiDriverSpec
  isRight(spec: CsiDriverSpec): boolean
  /** The effect of a wrong value. */
  consequence: string
  severity: 'fail' | 'warn'
  /** The right value. */
  wanted: unknown
}

const rules: readonly Rule[] = [
  {
    field: 'podInfoOnMount',
    isRight: ({ podInfoOnMount }) => podInfoOnMount,
    consequence: 'kubelet does not say which pod a mount is for, and every mount is refused',
    severity: 'fail',
    wanted: true,
  },
  {
    field: 'tokenRequests',
    isRight: ({ tokenRequests }) => tokenRequests.length > 0,
    consequence: 'kubelet passes no service-account token to log in with',
    severity: 'fail',
    wanted: [{ audience: 'vault' }],
  },
  {
    field: 'requiresRepublish',
    isRight: ({ requiresRepublish }) => requiresRepublish,
    consequence: 'kubelet never passes new tokens: files stop changing when the first Vault token expires',
    severity: 'fail',
    wanted: true,
  },
  {
    field: 'volumeLifecycleModes',
    isRight: ({ volumeLifecycleModes }) => volumeLifecycleModes.includes('Ephemeral'),
    consequence: 'kubelet refuses inline volumes of the driver',
    severity: 'fail',
    wanted: ['Ephemeral'],
  },
  {
    field: 'fsGroupPolicy',
    isRight: ({ fsGroupPolicy }) => fsGroupPolicy === 'None',
    consequence: 'kubelet may change the group and mode that the plugin has set on files',
    severity: 'warn',
    wanted: 'None',
  },
  {
    field: 'attachRequired',
    isRight: ({ attachRequired }) => !attachRequired,
    consequence: 'the plugin has no controller that could attach volumes',
    severity: 'warn',
    wanted: false,
  },
]

/** The API server refuses changes to these. */
const immutable: readonly (keyof CsiDriverSpec)[] = ['attachRequired', 'volumeLifecycleModes']

/**
 * Checks the CSIDriver object, field by field.
 * @returns its spec; undefined when it does not exist or may not be read
 */
export async function checkCsiDriver(
  deps: { report: Report; client: KubeClient; driverName: string },
  signal: AbortSignal,
): Promise<CsiDriverSpec | undefined> {
  const { report, client, driverName } = deps
  const spec = valueIn(await report.run('CSIDriver', () => read(client, driverName, signal)))
  if (spec === undefined) return undefined
  for (const rule of rules) {
    await report.run(`CSIDriver ${rule.field}`, () => verdictOf(driverName, spec, rule))
  }
  return spec
}

async function read(
  client: KubeClient,
  driverName: string,
  signal: AbortSignal,
): Promise<Verdict<CsiDriverSpec>> {
  const path = `/apis/storage.k8s.io/v1/csidrivers/${encodeURIComponent(driverName)}`
  const result = await get(client, path, signal)
  if (result.state === 'denied') return skipped(`you may not read it: ${result.reason}`)
  if (result.state === 'missing') {
    return fail(
      `${driverName} does not exist`,
      'install the chart, or name the driver with --driver-name (kubectl get csidriver)',
    )
  }
  return ok(driverName, z.object({ spec: specSchema }).parse(result.body).spec)
}

function verdictOf(driverName: string, spec: CsiDriverSpec, rule: Rule): Verdict {
  const shown = show(spec, rule.field)
  if (rule.isRight(spec)) return ok(shown)
  const detail = `${shown}: ${rule.consequence}`
  const fix = fixOf(driverName, rule)
  return rule.severity === 'fail' ? fail(detail, fix) : warn(detail, fix)
}

function show(spec: CsiDriverSpec, field: keyof CsiDriverSpec): string {
  if (field !== 'tokenRequests') return String(spec[field])
  const audiences = spec.tokenRequests.map(({ audience }) =>
    audience === '' ? "the API server's own audience" : `audience "${audience}"`,
  )
  return audiences.join(', ') || 'none'
}

function fixOf(driverName: string, { field, wanted }: Rule): string {
  if (immutable.includes(field)) {
    return `set ${field}: ${JSON.stringify(wanted)}; it cannot be changed, so run kubectl delete csidriver ${driverName} and install again`
  }
  const patch = JSON.stringify({ spec: { [field]: wanted } })
  return `kubectl patch csidriver ${driverName} --type=merge -p '${patch}'`
}
