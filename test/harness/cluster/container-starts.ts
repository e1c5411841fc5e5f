import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'

/** Of a cluster made by ../shared/cluster, in the directory of its kubeconfig. */
export const CONTAINERD = join(dirname(process.env.KUBECONFIG ?? ''), 'containerd.sock')

/** When containers started, by containerd's own clock: the API has only whole seconds, and late. */
export type ContainerStarts = {
  /** Milliseconds since the Unix epoch, with fractions, by container id. */
  at: ReadonlyMap<string, number>
  close(): void
}

export function watchContainerStarts(): ContainerStarts {
  const child = spawn('ctr', ['-a', CONTAINERD, '-n', 'k8s.io', 'events'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const at = new Map<string, number>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [, day, time, fraction = '', id] =
      /^(\S+) (\d\d:\d\d:\d\d)(\.\d+)? \+0000 UTC \S+ \/tasks\/start .*"container_id":"([^"]+)"/.exec(line) ??
      []
    if (id === undefined) return
    at.set(id, Date.parse(`${day}T${time}Z`) + Number(fraction || 0) * 1000)
  })
  return { at, close: () => child.kill() }
}

/** Now, by the same clock. */
export function preciseNow(): number {
  return performance.timeOrigin + performance.now()
}
