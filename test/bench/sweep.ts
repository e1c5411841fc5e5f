import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectKubelet, type PublishArgs } from '../harness/kubelet/kubelet.ts'
import { cpuSeconds, residentMiB, vaultCalls } from './figures.ts'
import { createPods } from './pods.ts'
import type { BenchedPlugin, Scene } from './scene.ts'
import { runLeg } from './workers.ts'

export type SweepResult = {
  identities: number
  volumes: number
  intervalSeconds: number
  /** MiB of VmRSS: 5 s after start, at some volumes, at all of them, and after everything. */
  rss: { idle: number; some: number; all: number; end: number }
  /** One whole interval in which nothing changed. */
  unchanged: { calls: Record<string, number>; cpuSeconds: number; wallSeconds: number }
  /** The secret changed once. */
  changed: {
    calls: Record<string, number>
    cpuSeconds: number
    /** From the write in Vault to the first file that was new, and to the last. */
    firstSeconds: number
    lastSeconds: number
  }
}

const IDLE_MS = 5_000
/** Jitter makes an interval up to a tenth longer. */
const JITTER = 1.1
const CONCURRENCY = 8
const POLL_MS = 10

/** A node full of volumes with scheduled refreshes: their cost, and the time until a change arrives. */
export async function sweep(
  scene: Scene,
  options: { identities: number; volumes: number; some: number; intervalSeconds: number },
): Promise<SweepResult> {
  const { identities, volumes, some, intervalSeconds } = options
  const plugin = await scene.startPlugin()
  const kubelet = connectKubelet(plugin.endpoint, { keepConnection: true })
  try {
    await sleep(IDLE_MS)
    const idle = residentMiB(plugin.pid)
    const pods = createPods(scene, {
      name: `sweep-${identities}`,
      count: volumes,
      importName: 'one-sweep',
      serviceAccounts: identities,
    })
    await runLeg(pods.slice(0, some), CONCURRENCY, (pod) => kubelet.nodePublish(pod))
    await sleep(1_000)
    const atSome = residentMiB(plugin.pid)
    await runLeg(pods.slice(some), CONCURRENCY, (pod) => kubelet.nodePublish(pod))
    await sleep(1_000)
    const atAll = residentMiB(plugin.pid)

    // First looks are spread over a whole interval; steady is what comes after it.
    await sleep(intervalSeconds * 1000 * JITTER)
    const unchanged = await measure(plugin, () => sleep(intervalSeconds * 1000))
    const times = { firstSeconds: 0, lastSeconds: 0 }
    const { wallSeconds: _, ...cost } = await measure(plugin, async () => {
      Object.assign(times, await change(scene, pods, intervalSeconds))
    })
    const end = residentMiB(plugin.pid)
    await runLeg(pods, CONCURRENCY, (pod) => kubelet.nodeUnpublish(pod))
    const rss = { idle, some: atSome, all: atAll, end }
    return { identities, volumes, intervalSeconds, rss, unchanged, changed: { ...cost, ...times } }
  } finally {
    kubelet.close()
    await plugin.stop()
  }
}

async function measure(
  plugin: BenchedPlugin,
  during: () => Promise<void>,
): Promise<SweepResult['unchanged']> {
  const before = await vaultCalls(plugin.metricsUrl)
  const cpuBefore = cpuSeconds(plugin.pid)
  const startedAt = performance.now()
  await during()
  const wallSeconds = (performance.now() - startedAt) / 1000
  const cpu = cpuSeconds(plugin.pid) - cpuBefore
  const after = await vaultCalls(plugin.metricsUrl)
  const calls = Object.fromEntries(
    Object.entries(after)
      .map(([operation, count]) => [operation, count - (before[operation] ?? 0)] as const)
      .filter(([, count]) => count > 0),
  )
  return { calls, cpuSeconds: cpu, wallSeconds }
}

/** Changes the secret and waits until every file holds the new one. The files' mtime says when that was. */
async function change(scene: Scene, pods: readonly PublishArgs[], intervalSeconds: number) {
  const password = `changed at ${Date.now()}`
  const files = pods.map((pod) => join(pod.targetPath, 'password'))
  const changedAt = Date.now()
  await scene.setSecret(password)
  const deadline = performance.now() + (intervalSeconds * JITTER + 60) * 1000
  // No file goes back, so it is enough to wait for one after the other.
  for (const file of files) {
    while (readFileSync(file, 'utf8') !== password) {
      if (performance.now() > deadline) throw new Error('the change did not reach every file')
      await sleep(POLL_MS)
    }
  }
  const writtenAt = files.map((file) => statSync(file).mtimeMs)
  return {
    firstSeconds: (Math.min(...writtenAt) - changedAt) / 1000,
    lastSeconds: (Math.max(...writtenAt) - changedAt) / 1000,
  }
}
