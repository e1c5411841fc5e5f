import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createMounter } from '../../../src/volume/mount.ts'
import { atExit } from '../../harness/at-exit.ts'
import { freePort } from '../../harness/free-port.ts'
import { connectKubelet, type Kubelet } from '../../harness/kubelet/kubelet.ts'
import { type Child, startChild } from './child.ts'
import { type Hinterland, layOut } from './hinterland.ts'
import { type ImportsPlace, importsInDirectory } from './imports-place.ts'
import { nowMs } from './now.ts'
import { type AttackedPlugin, startAttacked } from './plugin-process.ts'
import type { ProberOrder, ProberReport, Window } from './prober.ts'
import { isAlive } from './proc.ts'
import {
  PUBLISHED,
  VICTIM,
  type VictimEvent,
  type VictimOrder,
  type VictimReport,
  victimImports,
} from './victim-messages.ts'
import { startWorld, type World } from './world.ts'

export type StageOptions = {
  /** More flags of the plugin; of one given twice the last counts. */
  args?: readonly string[]
  env?: Readonly<Record<string, string>>
  /** Where imports come from; a directory when left out. */
  imports?: ImportsPlace
}

/** A node with a plugin on it, a victim at work and a prober: everything but the attacker. */
export type Stage = {
  world: World
  kubelet: Kubelet
  folder: string
  httpPort: number
  /** The socket without unix://. */
  socket: string
  hinterland: Hinterland
  /** Everything that the victim reported so far. */
  events: readonly VictimEvent[]
  plugin(): AttackedPlugin
  /** Of the plugin's processes so far. */
  output(): string
  imports: ImportsPlace
  /** The prober's figures of what runs between. */
  beginWindow(): Promise<void>
  endWindow(): Promise<Window>
  /** Waits until the victim has published each of its imports once more, from beginning to end. @returns false: it gave up */
  untilVictimPublished(): Promise<boolean>
  /** Ends the process, in order unless it has ended already, and starts another. @returns ms until it was ready */
  restart(options?: {
    kill?: boolean
    args?: readonly string[]
    while?: () => Promise<void>
  }): Promise<number>
  /** The victim does nothing during `work`. */
  atRest<T>(work: () => Promise<T>): Promise<T>
  /** Bytes of tmpfs in use below a folder's pods. */
  tmpfsMiB(below: string): number
  mounts(): string[]
  /** Ends everything. @returns what is left that must not be */
  close(): Promise<string[]>
}

/** Where to write the plugin's output, for the analysis of a failure. */
const { HOSTILE_LOG } = process.env
const TMPFS_MAGIC = 0x01021994
const VICTIM_WAIT_MS = 15_000

export async function startStage(options: StageOptions = {}): Promise<Stage> {
  const victim: Child<VictimOrder, VictimReport> = startChild('victim.ts')
  const keys = await victim.next('keys')
  const prober: Child<ProberOrder, ProberReport> = startChild('prober.ts')
  const idle: Child<never, { kind: 'listening'; port: number; pid: number }> = startChild('idle-server.ts')
  const idleAt = await idle.next('listening')
  const world = await startWorld(keys)
  const folder = mkdtempSync(join(tmpdir(), 'vfc-hostile-'))
  for (const name of ['victim', 'attacker']) mkdirSync(join(folder, name))
  const imports = options.imports ?? importsInDirectory(join(folder, 'imports'))
  const hinterland = layOut(join(folder, 'hinterland'))
  const socket = join(folder, 'csi.sock')
  const endpoint = `unix://${socket}`
  const httpPort = await freePort()
  const kubelet = connectKubelet(endpoint)
  const mounter = createMounter()
  const events: VictimEvent[] = []
  const past: string[] = []
  let running: AttackedPlugin
  let cancelKill = () => {}

  victim.onMessage((message) => {
    if ('began' in message) events.push(message)
  })
  for (const [name, spec] of Object.entries(victimImports)) {
    await imports.write(VICTIM, name, spec)
  }

  async function start(more: readonly string[] = []): Promise<void> {
    running = await startAttacked({
      folder,
      endpoint,
      httpPort,
      vaultAddr: world.bao.address,
      args: [...imports.args, ...(options.args ?? []), ...more],
      env: { ...imports.env, ...options.env },
    })
    const { pid } = running
    cancelKill()
    cancelKill = atExit(() => isAlive(pid) && process.kill(pid, 'SIGKILL'))
  }

  async function watch(): Promise<void> {
    const watching = prober.next('watching')
    prober.send({
      kind: 'watch',
      port: httpPort,
      pid: running.pid,
      idlePort: idleAt.port,
      idlePid: idleAt.pid,
    })
    await watching
  }

  async function atRest<T>(work: () => Promise<T>): Promise<T> {
    const resting = victim.next('resting')
    victim.send({ kind: 'rest' })
    await resting
    try {
      return await work()
    } finally {
      const again = victim.next('running')
      victim.send({ kind: 'begin' })
      await again
    }
  }

  const mounts = () => [...mounter.list().keys()].filter((path) => path.startsWith(folder))
  await start()
  await watch()
  const set = victim.next('running')
  victim.send({
    kind: 'set-up',
    endpoint,
    folder: join(folder, 'victim'),
    adminAddress: world.bao.adminAddress,
    rootToken: world.bao.rootToken,
  })
  await set

  return {
    world,
    kubelet,
    folder,
    httpPort,
    socket,
    hinterland,
    imports,
    events,
    atRest,
    mounts,
    plugin: () => running,
    output: () => [...past, running.output()].join(''),
    async beginWindow() {
      const begun = prober.next('begun')
      prober.send({ kind: 'begin' })
      await begun
    },
    async endWindow() {
      const window = prober.next('window')
      prober.send({ kind: 'end' })
      return await window
    },
    async untilVictimPublished() {
      const from = nowMs()
      const has = (kind: string, what?: string) =>
        events.some(
          (event) => event.kind === kind && event.began > from && (what === undefined || event.what === what),
        )
      const isThrough = () => PUBLISHED.every((what) => has('publish', what))
      while (!isThrough() && !has('error')) {
        if (nowMs() - from > VICTIM_WAIT_MS) return false
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      return isThrough()
    },
    async restart({ kill = false, args = [], while: between } = {}) {
      // One that hangs would keep the victim waiting.
      if (kill && !running.hasEnded()) await running.kill()
      return await atRest(async () => {
        const resting = prober.next('resting')
        prober.send({ kind: 'rest' })
        await resting
        const ending = running
        if (!ending.hasEnded()) await ending.stop()
        past.push(ending.output())
        if (HOSTILE_LOG) writeFileSync(HOSTILE_LOG, past.join(''))
        await between?.()
        await start(args)
        await watch()
        return running.readyMs
      })
    },
    tmpfsMiB(below) {
      const paths = mounts().filter((path) => path.startsWith(join(folder, below)))
      return paths.reduce((sum, path) => sum + usedMiB(path), 0)
    },
    async close() {
      const left: string[] = []
      const attempt = async (what: string, task: () => unknown) => {
        try {
          await task()
        } catch (error) {
          left.push(`${what}: ${(error as Error).message.slice(0, 500)}`)
        }
      }
      if (running.hasEnded()) await attempt('starting again', () => start())
      const finished = victim.next('finished')
      victim.send({ kind: 'finish' })
      await finished
      if (!running.hasEnded()) {
        await attempt('the end', async () => {
          const code = await running.stop()
          if (code !== 0) throw new Error(`the plugin ended with ${code}`)
        })
      }
      for (const path of mounts()) {
        left.push(`still mounted: ${path}`)
        await attempt('unmount', () => mounter.unmount(path))
      }
      kubelet.close()
      await Promise.all([victim.close(), prober.close(), idle.close()])
      await world.close()
      rmSync(folder, { recursive: true, force: true })
      return left
    },
  }
}

function usedMiB(path: string): number {
  try {
    const { type, bsize, blocks, bfree } = statfsSync(path)
    // Unmounted since it was listed: what lies beneath is another file system.
    if (type !== TMPFS_MAGIC) return 0
    return ((blocks - bfree) * bsize) / 2 ** 20
  } catch {
    return 0
  }
}
