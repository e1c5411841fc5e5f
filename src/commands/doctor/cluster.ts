import type { Clock } from '../../core/ports/clock.ts'
import type { Config } from '../../core/settings/config.ts'
import { createKubeClient, type KubeClient } from '../../kube/client.ts'
import { fieldOf } from '../../kube/failure.ts'
import { listImports } from '../../kube/import-calls.ts'
import { loadConnection } from '../../kube/load.ts'
import { checkApiServer } from './api-server.ts'
import { checkCrd } from './crd.ts'
import { checkCsiDriver } from './csi-driver.ts'
import { checkPlugin, type Plugin } from './plugin.ts'
import { checkSettings, type Invocation } from './plugin-settings.ts'
import { checkNeed, type Need, needs, type Subject } from './rbac.ts'
import { checkRegistration } from './registration.ts'
import { ok, type Report, valueIn } from './report.ts'

/** Results that later checks build on; undefined members could not be read. */
export type Cluster = {
  client: KubeClient
  /** Audiences of the tokens that kubelet passes. */
  audiences: readonly string[] | undefined
  plugin: Plugin | undefined
  /** The plugin's settings if known, else those of this command. */
  config: Config
}

type Deps = {
  report: Report
  clock: Clock
  invocation: Invocation
  config: Config
  /** The doctor runs in a pod of the plugin, with its service account. */
  isPlugin: boolean
}

/** Checks everything that the API server knows about the installation; undefined when it does not answer. */
export async function checkCluster(deps: Deps, signal: AbortSignal): Promise<Cluster | undefined> {
  const { report, clock, invocation, config, isPlugin } = deps
  const { driverName } = config
  const client = valueIn(await report.run('API server', () => connectToApiServer(invocation, clock, signal)))
  if (client === undefined) {
    report.skip(['CRD', 'CSIDriver', 'plugin', 'registration', 'RBAC'], 'the API server does not answer')
    return undefined
  }
  await report.run('CRD', () => checkCrd(client, signal))
  const driver = await checkCsiDriver({ report, client, driverName }, signal)
  const audiences = driver?.tokenRequests.map(({ audience }) => audience)
  const plugin = valueIn(await report.run('plugin', () => checkPlugin(client, driverName, signal)))
  await report.run('registration', () => checkRegistration(client, driverName, plugin?.nodes, signal))
  const settings =
    plugin && (await report.run('settings', () => checkSettings({ client, plugin, invocation }, signal)))
  const cluster = { client, audiences, plugin, config: (settings && valueIn(settings)) ?? config }
  await checkRights(report, cluster, isPlugin, signal)
  return cluster
}

async function connectToApiServer(invocation: Invocation, clock: Clock, signal: AbortSignal) {
  const client = createKubeClient({ connection: loadConnection({ clock, env: invocation.env }), clock })
  const verdict = await checkApiServer(client, signal).catch((error: unknown) => {
    client.close()
    throw error
  })
  if (verdict.outcome === 'fail') return verdict
  // An API server that denies this request may still answer others.
  return 'value' in verdict ? { ...verdict, value: client } : ok(verdict.detail, client)
}

async function checkRights(
  report: Report,
  { client, plugin, audiences, config }: Cluster,
  isPlugin: boolean,
  signal: AbortSignal,
): Promise<void> {
  const subject: Subject | undefined = plugin
    ? { kind: 'account', namespace: plugin.namespace, name: plugin.serviceAccount }
    : isPlugin
      ? { kind: 'self' }
      : undefined
  if (subject === undefined) {
    report.skip(['RBAC'], "the plugin's service account is not known")
    return
  }
  const manifests = await listImports(client, signal).catch(() => [])
  signal.throwIfAborted()
  for (const need of requiredRights(manifests, audiences, config)) {
    await report.run(need.name, () => checkNeed(client, subject, need, signal))
  }
}

/** Some rights are needed only if an import or a setting uses them. */
function requiredRights(
  manifests: readonly unknown[],
  audiences: readonly string[] = [],
  { removeStartupTaint, allowSecretSync }: Config,
): Need[] {
  const specs = manifests.map((manifest) => fieldOf(manifest, 'spec'))
  const kinds = specs.map((spec) => fieldOf(fieldOf(spec, 'caCertRef'), 'kind'))
  const hasOwnAudience = specs.some((spec) => {
    const audience = fieldOf(spec, 'audience')
    return typeof audience === 'string' && audience !== '' && !audiences.includes(audience)
  })
  const hasAppRole = specs.some((spec) => fieldOf(spec, 'appRole') !== undefined)
  // Without the flag such imports are refused before any right is used.
  const hasSecretSync = allowSecretSync && specs.some((spec) => fieldOf(spec, 'secretSync') !== undefined)
  return [
    needs.imports,
    needs.importStatus,
    needs.events,
    ...(hasOwnAudience ? [needs.tokens] : []),
    ...(kinds.includes('ConfigMap') ? [needs.configMaps] : []),
    ...(hasAppRole || kinds.includes('Secret') ? [needs.secrets] : []),
    ...(hasSecretSync ? [needs.syncedSecrets, needs.pods] : []),
    ...(removeStartupTaint ? [needs.nodes] : []),
  ]
}
