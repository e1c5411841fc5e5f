import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { basename, dirname, join } from 'node:path'
import type { Config } from '../../core/settings/config.ts'
import { fail, ok, type Report, skipped, type Verdict } from './report.ts'

/** A local socket answers at once or not at all; in milliseconds. */
const CONNECT_MS = 3_000
const CHECK_POD = "check the plugin pod of this node: kubectl get pods -o wide, and the pod's log"

type SocketSettings = Pick<Config, 'endpoint' | 'kubeletEndpoint' | 'registrationSocket' | 'driverName'>

/** On a node: whether the plugin answers at the sockets that kubelet uses. */
export async function checkSockets(
  report: Report,
  settings: SocketSettings,
  signal: AbortSignal,
): Promise<void> {
  const csi = csiPaths(settings)
  const { outcome, detail } = await report.run('CSI socket', () => checkSocket(csi, signal))
  const name = 'registration socket'
  const registration = registrationPaths(settings, csi)
  if (registration.length === 0) report.skip([name], '--registration-socket is off')
  // kubelet's plugins_registry exists on nodes without the plugin too.
  else if (outcome === 'skipped') report.skip([name], detail)
  else await report.run(name, () => checkSocket(registration, signal))
}

/** The path in a pod of the plugin, on the host, and the chart's default. */
function csiPaths({ endpoint, kubeletEndpoint, driverName }: SocketSettings): string[] {
  const chartDefault = `/var/lib/kubelet/plugins/${driverName}/csi.sock`
  return [...new Set([endpoint.replace(/^unix:\/\//, ''), kubeletEndpoint, chartDefault])]
}

function registrationPaths({ registrationSocket }: SocketSettings, csi: readonly string[]): string[] {
  if (registrationSocket === undefined) return []
  // kubelet's layout: ROOT/plugins/DRIVER/csi.sock and ROOT/plugins_registry.
  const registries = csi.map((path) => join(dirname(path), '../../plugins_registry'))
  const onHost = registries.map((folder) => join(folder, basename(registrationSocket)))
  return [...new Set([registrationSocket, ...onHost])]
}

async function checkSocket(paths: readonly string[], signal: AbortSignal): Promise<Verdict> {
  const path = paths.find((candidate) => existsSync(candidate))
  if (path !== undefined) return verdictOf(path, await probe(path, signal))
  const folder = paths.map(dirname).find((candidate) => existsSync(candidate))
  if (folder !== undefined)
    return fail(`there is no socket in ${folder}: the plugin is not running`, CHECK_POD)
  return skipped('this is not a node, or the plugin has never run here')
}

function verdictOf(path: string, code: string | undefined): Verdict {
  if (code === undefined) return ok(`the plugin answers at ${path}`)
  if (code === 'EACCES') return skipped(`only root may connect to ${path}`)
  return fail(`no answer at ${path} (${code}): the plugin is not running`, CHECK_POD)
}

/** @returns undefined when the connection succeeds, else the error code */
function probe(path: string, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, signal, timeout: CONNECT_MS })
    const end = (code?: string) => {
      socket.destroy()
      resolve(code)
    }
    socket.once('connect', () => end())
    socket.once('timeout', () => end('timeout'))
    socket.once('error', (error: NodeJS.ErrnoException) =>
      signal.aborted ? reject(signal.reason) : end(error.code ?? error.message),
    )
  })
}
