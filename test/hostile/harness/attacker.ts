import { type ChildProcess, spawn } from 'node:child_process'
import { type FSWatcher, watch } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { KubeletError, type PublishArgs } from '../../../src/demo/kubelet.ts'
import { type PodVolume, type PodWish, podVolume, tokensFor } from '../../support/pod-volume.ts'
import { nowMs } from './now.ts'
import { manifest, type Stage } from './stage.ts'
import { JWT_MOUNT } from './victim-messages.ts'
import { ATTACKER } from './world.ts'

/** What came of a publish. */
export type Attempt = { volume: PodVolume; error: KubeletError | undefined; ms: number }

/** What a tenant can do: imports, secrets of the own mount, pods. */
export type Attacker = {
  stage: Stage
  /** Writes `data` to the own KV v1 mount. @returns the path for an import */
  put(name: string, data: object | string): Promise<string>
  /** An import of the own namespace, role and login filled in. */
  import(name: string, spec: object): void
  /** The text of a manifest file as it is. */
  manifest(file: string, text: string): void
  /** Publishes as kubelet does, again while the plugin has not met the import; an error is an answer. */
  attempt(wish: PodWish & { patienceMs?: number }): Promise<Attempt>
  /** Writes an import and publishes a volume of it. */
  strike(name: string, spec: object, wish?: Partial<PodWish>): Promise<Attempt>
  republish(volume: PodVolume, more?: Partial<PublishArgs>): Promise<void>
  unpublish(volume: PodVolume): Promise<void>
  /** Counts how often a volume's files are swapped from now on. */
  countRewrites(volume: PodVolume): () => number
  dwell(seconds: number): Promise<void>
  /** A program of the attacker's container; ended when the attacker leaves, after the volumes went. */
  run(program: string, args: readonly string[]): ChildProcess
  /** Done when the attacker leaves, after the volumes went. */
  later(task: () => unknown): void
  /** What is broken, in words: told by leave(). */
  accuse(what: string): void
  /** The same for what must hold. */
  expect(holds: boolean, what: string): void
  /** The plugin started again as it is. Too late is an accusation */
  restart(options?: Parameters<Stage['restart']>[0]): Promise<void>
  /** Takes the imports away, so that a plugin that they keep from starting can start. */
  withdraw(): void
  /** Takes away all that was made since the last time. @returns faults in words */
  leave(): Promise<string[]>
}

const PATIENCE_MS = 3_000
const TOKENS_GONE_MS = 10_000
const CALL_TIMEOUT_MS = 15_000
/** A start among attacks may take so many times the first one, and this on top. */
const READY_FACTOR = 3
const READY_ALLOWANCE_MS = 2_000
const SIDE_BY_SIDE = 16

export function createAttacker(stage: Stage): Attacker {
  const { world, kubelet, folder } = stage
  const home = join(folder, 'attacker')
  const volumes = new Set<PodVolume>()
  const files = new Set<string>()
  const watchers = new Set<FSWatcher>()
  // A plugin that has not yet met an import of this attack must not take one of the attack before for it.
  const names = new Map<string, string>()
  const chores: (() => unknown)[] = []
  let visit = 1
  let accusations: string[] = []
  const firstReadyMs = stage.plugin().readyMs
  let count = 0

  const attacker: Attacker = {
    stage,
    async put(name, data) {
      await world.admin.write(`attacker1/${name}`, typeof data === 'string' ? { value: data } : data)
      return `attacker1/${name}`
    },
    import(name, spec) {
      const own = { role: ATTACKER, authMethod: 'jwt', authPath: JWT_MOUNT }
      const nameNow = `${name}-${visit}`
      names.set(name, nameNow)
      attacker.manifest(`${ATTACKER}-${nameNow}.json`, manifest(ATTACKER, nameNow, { ...own, ...spec }))
    },
    manifest(file, text) {
      files.add(file)
      stage.writeManifest(file, text)
    },
    async attempt({ patienceMs = PATIENCE_MS, ...wished }) {
      const wish = { ...wished, importName: names.get(wished.importName) ?? wished.importName }
      count += 1
      const volumeId = `${ATTACKER}-${count}`
      const volume = podVolume(home, world.issuer, { namespace: ATTACKER, volumeId, ...wish })
      const deadline = nowMs() + patienceMs
      for (;;) {
        const began = nowMs()
        try {
          await kubelet.nodePublish({ timeoutMs: CALL_TIMEOUT_MS, ...volume.args })
          volumes.add(volume)
          return { volume, error: undefined, ms: nowMs() - began }
        } catch (error) {
          if (!(error instanceof KubeletError)) throw error
          const isUnknown = error.code === 'NOT_FOUND' && error.details.includes(wish.importName.slice(0, 20))
          if (!isUnknown || nowMs() > deadline) {
            // kubelet unpublishes what it failed to publish, too.
            volumes.add(volume)
            return { volume, error, ms: nowMs() - began }
          }
          await sleep(20)
        }
      }
    },
    strike(name, spec, wish = {}) {
      attacker.import(name, spec)
      return attacker.attempt({ importName: name, ...wish })
    },
    async republish({ args }, more = {}) {
      await kubelet.nodePublish({
        ...args,
        tokens: tokensFor(world.issuer, args.pod),
        timeoutMs: 30_000,
        ...more,
      })
    },
    async unpublish(volume) {
      const request = { volume_id: volume.args.volumeId, target_path: volume.target }
      await kubelet.raw('NodeUnpublishVolume', request, { timeoutMs: CALL_TIMEOUT_MS })
      volumes.delete(volume)
    },
    countRewrites(volume) {
      let rewrites = 0
      const watcher = watch(volume.target, (_event, name) => {
        if (name === '..data') rewrites += 1
      })
      watcher.on('error', () => watcher.close())
      watchers.add(watcher)
      return () => rewrites
    },
    dwell: async (seconds) => {
      await sleep(seconds * 1000)
    },
    run(program, args) {
      const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] })
      child.on('error', (error) => attacker.accuse(`${program}: ${error.message}`))
      chores.push(() => child.kill('SIGKILL'))
      process.once('exit', () => child.kill('SIGKILL'))
      return child
    },
    later: (task) => chores.push(task),
    accuse: (what) => accusations.push(what),
    expect: (holds, what) => {
      if (!holds) accusations.push(what)
    },
    async restart(options) {
      const readyMs = await stage.restart(options)
      const limit = READY_FACTOR * firstReadyMs + READY_ALLOWANCE_MS
      attacker.expect(
        readyMs <= limit,
        `ready only after ${readyMs.toFixed(0)} ms, at most ${limit.toFixed(0)}`,
      )
    },
    withdraw() {
      for (const file of files) stage.writeManifest(file, undefined)
      files.clear()
      names.clear()
    },
    async leave() {
      for (const watcher of watchers) watcher.close()
      watchers.clear()
      const faults = accusations
      accusations = []
      const leaving = [...volumes]
      const lane = async () => {
        for (let volume = leaving.pop(); volume; volume = leaving.pop()) {
          await attacker
            .unpublish(volume)
            .catch((error: Error) => faults.push(`unpublish: ${error.message.slice(0, 300)}`))
        }
      }
      await Promise.all(Array.from({ length: SIDE_BY_SIDE }, lane))
      volumes.clear()
      for (const chore of chores.splice(0)) await chore()
      attacker.withdraw()
      visit += 1
      const mounted = stage.mounts().filter((path) => path.startsWith(home))
      if (mounted.length > 0) faults.push(`${mounted.length} volumes still mounted`)
      const left = await tokensLeft()
      if (left > 0) faults.push(`${left} Vault tokens left after the last volume`)
      return faults
    },
  }

  async function tokensLeft(): Promise<number> {
    const deadline = nowMs() + TOKENS_GONE_MS
    for (;;) {
      const { length } = await world.attackerTokens()
      if (length === 0 || nowMs() > deadline) return length
      await sleep(100)
    }
  }

  return attacker
}
