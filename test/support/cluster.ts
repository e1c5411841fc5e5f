import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { until } from './until.ts'

/** The custom resource definition that ships with the plugin. */
export const crdPath = join(import.meta.dirname, '../../deploy/crd/secretsstoreimports.yaml')

/** Why a test that needs a cluster cannot run here; false when it can. */
export const noCluster: string | false = process.env.KUBECONFIG ? false : 'KUBECONFIG is not set'

/** Runs kubectl as the cluster's admin. @param manifest goes to its standard input: an object, or YAML */
export function kubectl(args: readonly string[], manifest?: object | string): SpawnSyncReturns<string> {
  const input = typeof manifest === 'object' ? JSON.stringify(manifest) : manifest
  return spawnSync('kubectl', args, { encoding: 'utf8', ...(input === undefined ? {} : { input }) })
}

/** @throws Error with what kubectl said */
export function mustKubectl(args: readonly string[], manifest?: object | string): string {
  const { status, stdout, stderr } = kubectl(args, manifest)
  if (status !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`)
  return stdout
}

/** Installs the CRD and waits until the API server serves it. */
export async function installCrd(): Promise<void> {
  mustKubectl(['apply', '--server-side', '--force-conflicts', '-f', crdPath])
  mustKubectl([
    'wait',
    '--for=condition=Established',
    '--timeout=30s',
    'crd/secretsstoreimports.deckhouse.io',
  ])
  // Established comes before every part of the API server serves it.
  await until(
    'the CRD to be served',
    () => kubectl(['get', '--raw', '/apis/deckhouse.io/v1alpha1/secretsstoreimports']).status === 0,
  )
}

/** A namespace of the test's own; the answer deletes it. */
export function createNamespace(name: string): () => void {
  mustKubectl(['create', 'namespace', name])
  return () => {
    kubectl(['delete', 'namespace', name, '--wait=false'])
  }
}

/** The API server's process, where the test may stop and start it: its id stands in pids/ beside the kubeconfig. */
export type ApiServer = {
  stop(): Promise<void>
  /** Starts it again with the arguments it had and waits until it is ready. */
  start(): Promise<void>
}

/** Undefined for a cluster that is not ours to stop. */
export function findApiServer(): ApiServer | undefined {
  const folder = dirname(process.env.KUBECONFIG ?? '')
  const pidFile = join(folder, 'pids', 'apiserver')
  if (!existsSync(pidFile)) return undefined
  const pid = Number(readFileSync(pidFile, 'utf8'))
  const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
  const cwd = readlinkSync(`/proc/${pid}/cwd`)
  return {
    async stop() {
      const running = Number(readFileSync(pidFile, 'utf8'))
      process.kill(running, 'SIGKILL')
      await until('the API server to end', () => !existsSync(`/proc/${running}`) || isZombie(running))
    },
    async start() {
      const log = openSync(join(folder, 'log', 'apiserver.log'), 'a')
      const child = spawn(program, args, { cwd, detached: true, stdio: ['ignore', log, log] })
      closeSync(log)
      child.unref()
      writeFileSync(pidFile, `${child.pid}\n`)
      await until('the API server to be ready', () => kubectl(['get', '--raw', '/readyz']).stdout === 'ok', {
        timeoutMs: 60_000,
        everyMs: 100,
      })
    },
  }
}

function isZombie(pid: number): boolean {
  try {
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return true
  }
}
