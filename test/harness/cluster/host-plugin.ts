import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { renderRelease } from '../../../deploy/generate/deploy-files.ts'
import { freePort } from '../free-port.ts'
import { parseSamples, type Samples } from '../measure/samples.ts'
import { type LogLine, parseLog } from '../plugin/log-lines.ts'
import { type Plugin, startPlugin } from '../plugin/plugin.ts'
import { until } from '../until.ts'
import { installCrd, kubectl, mustKubectl } from './cluster.ts'
import type { ClusterApi } from './cluster-api.ts'
import { writeKubeconfig } from './kubeconfig.ts'

/** kubelet's --root-dir. */
export const KUBELET = '/var/lib/kubelet'
export const DRIVER = 'secrets-store.csi.deckhouse.io'
/** Namespace and name of the chart's objects. */
const NAME = 'vault-files-csi-host'
/** As which the plugin asks the API server. */
export const PLUGIN_USER = `system:serviceaccount:${NAME}:${NAME}`
/** Of the chart: whatever imports may ask for. */
const SWITCHES = ['rbac.tokenRequest', 'rbac.configMaps', 'rbac.secrets'].map((path) => `--set=${path}=true`)

/**
 * The plugin as a process of the host beside kubelet, with the chart's CSIDriver and the rights of the chart's
 * service account: quicker to kill and to start than its pod.
 */
export type HostPlugin = {
  /** Of all its processes so far, oldest first. */
  log(): LogLine[]
  metrics(): Promise<Samples>
  isRunning(): boolean
  /** Waits until kubelet has registered it. */
  start(): Promise<void>
  /** SIGTERM, then the exit code. */
  stop(): Promise<number | null>
  /** SIGKILL. */
  kill(): Promise<void>
  /** Names of the ledger's entries. */
  ledger(): string[]
  /** What another process of the plugin would be started with. */
  argsFor(options: { driverName: string; kubeletEndpoint: string; registrationSocket: string }): string[]
  env: Readonly<Record<string, string>>
  folder: string
  /** Stops it and takes everything away but the CRD. */
  close(): Promise<void>
}

export async function startHostPlugin(options: {
  api: ClusterApi
  vaultAddr: string
  args?: readonly string[]
  /** Of the chart, beside those of SWITCHES. */
  values?: readonly string[]
}): Promise<HostPlugin> {
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-host-'))
  const sockets = join(KUBELET, 'plugins', DRIVER)
  const endpoint = `unix://${join(sockets, 'csi.sock')}`
  const httpPort = await freePort()
  const past: string[] = []
  let running: Plugin | undefined
  mkdirSync(sockets, { recursive: true })
  await installCrd()
  await installChart(options.values ?? [])
  const token = mustKubectl(['create', 'token', NAME, '-n', NAME, '--duration=4h']).trim()
  const env = {
    KUBECONFIG: writeKubeconfig(options.api, folder, token),
    NODE_COMPILE_CACHE: join(folder, 'compiled'),
  }

  const argsFor: HostPlugin['argsFor'] = (own) => [
    '--node-id=node1',
    '--imports=kube',
    `--driver-name=${own.driverName}`,
    `--kubelet-endpoint=${own.kubeletEndpoint}`,
    `--registration-socket=${own.registrationSocket}`,
    `--vault-addr=${options.vaultAddr}`,
    '--log-format=json',
  ]
  const args = [
    ...argsFor({
      driverName: DRIVER,
      kubeletEndpoint: join(sockets, 'csi.sock'),
      registrationSocket: join(KUBELET, 'plugins_registry', `${DRIVER}-reg.sock`),
    }),
    `--state-dir=${join(folder, 'state')}`,
    `--http-addr=127.0.0.1:${httpPort}`,
    '--vault-auth-path=main-kube',
    '--rotation-interval=2s',
    '--min-refresh-interval=1s',
    ...(options.args ?? []),
  ]

  const output = () => [...past, running?.output() ?? ''].join('')
  const log = () => parseLog(output())
  const registrations = () => log().filter(({ msg }) => msg === 'registered with kubelet').length

  async function ended<T>(end: (plugin: Plugin) => Promise<T>): Promise<T> {
    if (running === undefined) throw new Error('the plugin is stopped')
    const ending = running
    running = undefined
    try {
      return await end(ending)
    } finally {
      past.push(ending.output())
    }
  }

  const plugin: HostPlugin = {
    log,
    env,
    folder,
    argsFor,
    metrics: async () => parseSamples(await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text()),
    isRunning: () => running !== undefined,
    async start() {
      const before = registrations()
      running = await startPlugin({ endpoint, args, env })
      await until('kubelet to register the plugin', () => registrations() > before, { timeoutMs: 30_000 })
    },
    stop: () => ended((ending) => ending.stop()),
    kill: () => ended((ending) => ending.kill()),
    ledger: () => readdirSync(join(folder, 'state/volumes')),
    async close() {
      if (running !== undefined) await plugin.stop()
      rmSync(sockets, { recursive: true, force: true })
      kubectl(['delete', `csidriver/${DRIVER}`, `clusterrole/${NAME}`, `clusterrolebinding/${NAME}`])
      kubectl(['delete', 'namespace', NAME, '--wait=false'])
      rmSync(folder, { recursive: true, force: true })
    },
  }
  try {
    await plugin.start()
  } catch (error) {
    await plugin.close()
    throw new Error(`the plugin did not start: ${output().slice(-4_000)}`, { cause: error })
  }
  return plugin
}

/** All of the chart but its DaemonSet. */
async function installChart(values: readonly string[]): Promise<void> {
  const more = values.map((value) => `--set=${value}`)
  const text = await renderRelease(NAME, `--set=fullnameOverride=${NAME}`, ...SWITCHES, ...more)
  const wanted = ['CSIDriver', 'ServiceAccount', 'ClusterRole', 'ClusterRoleBinding']
  const items = parseAllDocuments(text)
    .map((document) => document.toJS() as { kind: string } | null)
    .filter((manifest) => manifest !== null && wanted.includes(manifest.kind))
  await until('the namespace', () => kubectl(['create', 'namespace', NAME]).status === 0, {
    timeoutMs: 60_000,
    everyMs: 500,
  })
  // Whatever an earlier test changed in it.
  kubectl(['delete', `csidriver/${DRIVER}`, '--ignore-not-found'])
  mustKubectl(['apply', '-f', '-'], { apiVersion: 'v1', kind: 'List', items })
}
