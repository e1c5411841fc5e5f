import { cpus, release, totalmem } from 'node:os'

/** How long single pods took until their container ran, in milliseconds. */
export type Singles = {
  /** With the volume of the service account's token, as pods have by default: without our volume and with it. */
  without: number[]
  with: number[]
  /** Pods without even that: with no volume at all, an emptyDir, our volume. */
  bare: number[]
  bareWithEmptyDir: number[]
  bareWith: number[]
}

/** Milliseconds until the last of many pods ran, alternating: the machine has other work, and a single run varies by a sixth. */
export type Many = { pods: number; emptyDir: number[]; ours: number[] }

export type Idle = {
  pods: number
  seconds: number
  intervalSeconds: number
  apiWrites: number
  apiReads: number
  vaultReads: number
  vaultOthers: number
  /** Of kubelet, for the same volumes. */
  republishes: number
  cpuSeconds: number
}

export type Figures = { single: Singles; many: Many; idle: Idle; kubelet: string; runtime: string }

/** The figures that the project holds itself to. */
export const goals = { addedMs: 150, manyRatio: 1.3 }

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const last = sorted.length - 1
  return ((sorted[Math.floor(last / 2)] ?? Number.NaN) + (sorted[Math.ceil(last / 2)] ?? Number.NaN)) / 2
}

/** What our volume adds until the container starts, in milliseconds. */
export function addedMs(single: Singles): number {
  return median(single.with) - median(single.without)
}

export function manyRatio(many: Many): number {
  return sum(many.ours) / sum(many.emptyDir)
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

/** Everything as Markdown, which reads well in a terminal too. */
export function renderFigures(figures: Figures): string {
  const { single, many, idle } = figures
  return [
    `Machine: ${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.version}, kubelet ${figures.kubelet}, ${figures.runtime}; everything (etcd, API server, kubelet, containerd, OpenBao, the tests) on this one machine.`,
    '',
    `| until the container starts, one pod at a time, ${single.with.length} of each | p50 ms | fastest | slowest |`,
    '|---|---|---|---|',
    row('the pod without our volume', single.without),
    row('the same pod with our volume', single.with),
    `| **what our volume adds** (wanted: ≤ ${goals.addedMs}) | **${addedMs(single).toFixed(0)}** | | |`,
    row('a pod without any volume, not even its token', single.bare),
    row('the same with an emptyDir', single.bareWithEmptyDir),
    row('the same with only our volume', single.bareWith),
    '',
    `| ${many.pods} pods at once, in turns | until the last one runs, s |`,
    '|---|---|',
    `| with an emptyDir | ${seconds(many.emptyDir)} |`,
    `| with our volume | ${seconds(many.ours)} |`,
    `| **ratio** (wanted: ≤ ${goals.manyRatio}) | **${manyRatio(many).toFixed(2)}** |`,
    '',
    `| idle: ${idle.pods} pods, ${idle.seconds} s, secrets looked at every ${idle.intervalSeconds} s | |`,
    '|---|---|',
    `| writes to the API server (wanted: 0) | ${idle.apiWrites} |`,
    `| reads of the API server: the watch, resumed | ${idle.apiReads} |`,
    `| reads of Vault (${(idle.seconds / idle.intervalSeconds).toFixed(1)} intervals) | ${idle.vaultReads} |`,
    `| other calls to Vault: renewals of the one token | ${idle.vaultOthers} |`,
    `| publishes that kubelet repeated | ${idle.republishes} |`,
    `| CPU seconds of the plugin | ${idle.cpuSeconds.toFixed(2)} |`,
    '',
  ].join('\n')
}

function seconds(values: readonly number[]): string {
  return values.map((value) => (value / 1000).toFixed(1)).join(', ')
}

function row(what: string, values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const [fastest = 0, slowest = 0] = [sorted[0], sorted.at(-1)]
  return `| ${what} | ${median(values).toFixed(0)} | ${fastest.toFixed(0)} | ${slowest.toFixed(0)} |`
}
