import { type ChildProcess, spawn } from 'node:child_process'
import { type FSWatcher, watch } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { atExit } from '../../harness/at-exit.ts'
import { KubeletError, type PublishArgs } from '../../harness/kubelet/kubelet.ts'
import { type PodVolume, type PodWish, podVolume, tokensFor } from '../../harness/kubelet/pod-volume.ts'
import { nowMs } from './now.ts'
import type { Stage } from './stage.ts'
import { JWT_MOUNT } from './victim-messages.ts'
import { ATTACKER } from './world.ts'

/** The result of a publish. */
export type Attempt = { volume: PodVolume; error: KubeletError | undefined; ms: number }

/** The means of a tenant: imports, secrets of its own mount, pods. */
export type Attacker = {
  stage: Stage
  /** Writes `data` to the own KV v1 mount. @returns the path for an import */
  put(name: string, data: object | string): Promise<string>
  /** An import of the own namespace, role and login filled in. */
  import(name: string, spec: object): Promise<void>
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
  /** Accessors of the Vault tokens that this attack has had made and that live. */
  tokens(): Promise<string[]>
  dwell(seconds: number): Promise<void>
  /** A program of the attacker's container; ended when the attacker leaves, after the volumes went. */
  run(program: string, args: readonly string[]): ChildProcess
  /** Done when the attacker leaves, after the volumes went. */
  later(task: () => unknown): void
  /** Reports a breach, in words; leave() returns them. */
  accuse(what: string): void
  /** The same for what must hold. */
  expect(holds: boolean, what: string): void
  /** The plugin started again as it is. Too late is an accusation */
  restart(options?: Parameters<Stage['restart']>[0]): Promise<void>
  /** Takes the imports away, so that a plugin that they keep from starting can start. */
  withdraw(): Promise<void>
  /** Forgets the volumes that could not be unpublished: they are not the next attack's. */
  forget(): void
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
  const imports = new Set<string>()
  const watchers = new Set<FSWatcher>()
  // A plugin that has not yet met an import of this attack must not take one of the attack before for it.
  const names = new Map<string, string>()
  const orphans = new Set<string>()
  const left = new Set<string>()
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
    async import(name, spec) {
      const own = { role: ATTACKER, authMethod: 'jwt', authPath: JWT_MOUNT }
      const nameNow = `${name}-${visit}`
      names.set(name, nameNow)
      imports.add(nameNow)
      await stage.imports.write(ATTACKER, nameNow, { ...own, ...spec })
    },
    manifest(file, text) {
      files.add(file)
      stage.imports.writeText(file, text)
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
    async strike(name, spec, wish = {}) {
      await attacker.import(name, spec)
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
    tokens: async () => (await world.attackerTokens()).filter((accessor) => !orphans.has(accessor)),
    dwell: async (seconds) => {
      await sleep(seconds * 1000)
    },
    run(program, args) {
      const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] })
      child.on('error', (error) => attacker.accuse(`${program}: ${error.message}`))
      const kill = () => child.kill('SIGKILL')
      chores.push(kill)
      child.once('exit', atExit(kill))
      return child
    },
    later: (task) => chores.push(task),
    accuse: (what) => accusations.push(what),
    expect: (holds, what) => {
      if (!holds) accusations.push(what)
    },
    async restart(options) {
      const readyMs = await stage.restart({
        ...options,
        while: async () => {
          await options?.while?.()
          // A process that ends gives no token back: its pods go on, and Vault ends the tokens.
          for (const accessor of await world.attackerTokens()) orphans.add(accessor)
        },
      })
      const limit = READY_FACTOR * firstReadyMs + READY_ALLOWANCE_MS
      attacker.expect(
        readyMs <= limit,
        `ready only after ${readyMs.toFixed(0)} ms, at most ${limit.toFixed(0)}`,
      )
    },
    async withdraw() {
      for (const file of files) stage.imports.writeText(file, undefined)
      files.clear()
      const leaving = [...imports]
      imports.clear()
      await sideBySide(leaving, async (name) => {
        // Refused when it was written: then there is none.
        await stage.imports.remove(ATTACKER, name).catch(() => undefined)
      })
      names.clear()
    },
    forget: () => volumes.clear(),
    async leave() {
      for (const watcher of watchers) watcher.close()
      watchers.clear()
      const faults = accusations
      accusations = []
      await sideBySide([...volumes], (volume) =>
        attacker
          .unpublish(volume)
          .catch((error: Error) => void faults.push(`unpublish: ${error.message.slice(0, 300)}`)),
      )
      for (const chore of chores.splice(0)) await chore()
      await attacker.withdraw()
      visit += 1
      const mounted = stage.mounts().filter((path) => path.startsWith(home) && !left.has(path))
      if (mounted.length > 0) faults.push(`${mounted.length} volumes still mounted`)
      for (const path of mounted) left.add(path)
      const tokens = await tokensLeft()
      if (tokens > 0) faults.push(`${tokens} Vault tokens left after the last volume`)
      return faults
    },
  }

  /** Those that an earlier attack has left are its own: a plugin that was killed cannot give its tokens back. */
  async function tokensLeft(): Promise<number> {
    const deadline = nowMs() + TOKENS_GONE_MS
    for (;;) {
      const left = await attacker.tokens()
      if (left.length > 0 && nowMs() < deadline) {
        await sleep(100)
        continue
      }
      for (const accessor of left) orphans.add(accessor)
      return left.length
    }
  }

  return attacker
}

/** `task` for each, some at a time. */
export async function sideBySide<T>(items: readonly T[], task: (item: T) => Promise<unknown>): Promise<void> {
  const left = [...items].reverse()
  const lane = async () => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await task(item)
  }
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, lane))
}
