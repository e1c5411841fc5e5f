import { spawn } from 'node:child_process'
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { until } from '../until.ts'
import { kubectl, noCluster } from './cluster.ts'

/** A process of a cluster made by ../shared/cluster, which notes its id in pids/ beside the kubeconfig. */
export type Component = {
  /** As a crash would: SIGKILL. */
  stop(): Promise<void>
  /** Starts it again with the arguments it had, and these, and waits until it is ready. */
  start(more?: readonly string[]): Promise<void>
}

const isReady = {
  apiserver: () => kubectl(['get', '--raw', '/readyz']).stdout === 'ok',
  kubelet: async () => (await fetch('http://127.0.0.1:10248/healthz')).ok,
}

const FOLDER = dirname(process.env.KUBECONFIG ?? '')

/** Why tests cannot stop the cluster's parts or run the plugin beside its kubelet; false when they can. */
export const notOurs: string | false =
  noCluster || (existsSync(join(FOLDER, 'pids')) ? false : 'the cluster is not one made by ../shared/cluster')

/** Undefined for a cluster that is not ours to stop. */
export function findComponent(name: keyof typeof isReady): Component | undefined {
  const pidFile = join(FOLDER, 'pids', name)
  if (!existsSync(pidFile)) return undefined
  const pidOf = () => Number(readFileSync(pidFile, 'utf8'))
  const pid = pidOf()
  const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
  const cwd = readlinkSync(`/proc/${pid}/cwd`)
  return {
    async stop() {
      const running = pidOf()
      process.kill(running, 'SIGKILL')
      await until(`the ${name} to end`, () => hasEnded(running))
    },
    async start(more = []) {
      const log = openSync(join(FOLDER, 'log', `${name}.log`), 'a')
      const child = spawn(program, [...args, ...more], { cwd, detached: true, stdio: ['ignore', log, log] })
      closeSync(log)
      child.unref()
      writeFileSync(pidFile, `${child.pid}\n`)
      await until(`the ${name} to be ready`, isReady[name], { timeoutMs: 60_000, everyMs: 100 })
    },
  }
}

/** Gone, or a zombie without other threads: while one of them lives, its ports are taken. */
function hasEnded(pid: number): boolean {
  try {
    return (
      / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8')) && readdirSync(`/proc/${pid}/task`).length <= 1
    )
  } catch {
    return true
  }
}
