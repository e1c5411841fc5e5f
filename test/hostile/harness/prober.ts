// A process of its own that asks the plugin for its health every 5 ms and an idle server beside it.
// How long an answer took, less the time in which the plugin's main thread was ready to run and the machine ran somebody
// else (schedstat), and less what the prober itself waited for a processor since its last tick and so read the answer
// late, is how long the plugin's event loop was held.
import { nowMs } from './now.ts'
import { type Pinger, startPinger } from './ping.ts'
import { forgetPeak, memoryMiB, waitedMs } from './proc.ts'

const EVERY_MS = 5
const MEMORY_EVERY = 4

export type ProberOrder =
  | { kind: 'watch'; port: number; pid: number; idlePort: number; idlePid: number }
  | { kind: 'rest' }
  | { kind: 'begin' }
  | { kind: 'end' }

export type Window = {
  kind: 'window'
  asked: number
  /** Longest answer as it was, in milliseconds. */
  worstMs: number
  /** Longest answer without what the machine took, in milliseconds. */
  heldMs: number
  /** The same two of the idle server. */
  idleWorstMs: number
  idleHeldMs: number
  rssMiB: number
  peakMiB: number
}
export type ProberReport = Window | { kind: 'watching' | 'resting' | 'begun' }

let pingers: Pinger[] = []
let timer: NodeJS.Timeout | undefined
let watched = { pid: 0, idlePid: 0 }
let window = emptyWindow()
/** What the thread that is asked had waited when it was asked, by process. */
const before = new Map<number, number>()
/** What the prober had waited at its last tick. */
let ownWaitMs = 0

process.on('message', (order: ProberOrder) => {
  if (order.kind === 'watch') watch(order)
  if (order.kind === 'rest') rest()
  if (order.kind === 'begin') begin()
  if (order.kind === 'end') end()
})
process.on('disconnect', () => process.exit(0))

function watch({ port, pid, idlePort, idlePid }: Extract<ProberOrder, { kind: 'watch' }>): void {
  rest()
  watched = { pid, idlePid }
  pingers = [
    startPinger(port, (sentAt, at, connections) => note(pid, sentAt, at, connections)),
    startPinger(idlePort, (sentAt, at) => note(idlePid, sentAt, at)),
  ]
  let count = 0
  timer = setInterval(() => {
    ownWaitMs = waitedMs('self')
    ask(0, pid)
    ask(1, idlePid)
    count += 1
    if (count % MEMORY_EVERY === 0) lookAtMemory()
  }, EVERY_MS)
  process.send?.({ kind: 'watching' })
}

function ask(index: number, pid: number): void {
  const pinger = pingers[index]
  if (pinger === undefined || pinger.pendingSince() !== undefined) return
  before.set(pid, waitedMs(pid))
  pinger.ask()
}

function note(pid: number, sentAt: number, at: number, connections = 0): void {
  const took = at - sentAt
  const waits = waitedMs(pid) - (before.get(pid) ?? 0) + (waitedMs('self') - ownWaitMs)
  const held = Math.max(0, took - Math.max(0, waits))
  if (pid === watched.idlePid) {
    window.idleWorstMs = Math.max(window.idleWorstMs, took)
    window.idleHeldMs = Math.max(window.idleHeldMs, held)
    return
  }
  window.asked += 1
  window.worstMs = Math.max(window.worstMs, took)
  // One that had to connect has stood in the kernel's queue too, which says nothing of the event loop.
  if (connections === 0) window.heldMs = Math.max(window.heldMs, held)
}

function lookAtMemory(): void {
  const { rss, peak } = memoryMiB(watched.pid)
  window.rssMiB = Math.max(window.rssMiB, rss)
  window.peakMiB = Math.max(window.peakMiB, peak)
}

function rest(): void {
  clearInterval(timer)
  timer = undefined
  for (const pinger of pingers) pinger.close()
  pingers = []
  process.send?.({ kind: 'resting' })
}

function begin(): void {
  window = emptyWindow()
  forgetPeak(watched.pid)
  process.send?.({ kind: 'begun' })
}

function end(): void {
  // An answer that is still waited for counts with the time so far.
  const [plugin] = pingers
  const since = plugin?.pendingSince()
  if (since !== undefined) note(watched.pid, since, nowMs())
  lookAtMemory()
  process.send?.(window)
}

function emptyWindow(): Window {
  return {
    kind: 'window',
    asked: 0,
    worstMs: 0,
    heldMs: 0,
    idleWorstMs: 0,
    idleHeldMs: 0,
    rssMiB: 0,
    peakMiB: 0,
  }
}
