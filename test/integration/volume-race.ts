import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { createClock } from '../../src/ops/clock.ts'
import { createVolumeFiles } from '../../src/volume/volume-files.ts'
import { until } from '../harness/until.ts'
import { mayMount, mountedVolume } from '../harness/volume/tmpfs.ts'
import { readByPath, rendered } from '../harness/volume/volume.ts'

const ROTATIONS = 200
const MAX_ROTATIONS = 50 * ROTATIONS
const SENTINELS = ['password', 'user', 'host-file']
const sizeBytes = 4 << 20

/** Everything about the files outside that a write, a chmod or a deletion would change. */
function describe(folder: string): unknown {
  return readdirSync(folder)
    .sort()
    .map((name) => {
      const { ino, mode, uid, gid, mtimeNs, ctimeNs, nlink } = lstatSync(join(folder, name), { bigint: true })
      const text = readFileSync(join(folder, name), 'utf8')
      return [name, text, ino, mode, uid, gid, mtimeNs, ctimeNs, nlink].map(String)
    })
}

async function startRacer(root: string, outside: string) {
  const racer: ChildProcess = spawn(
    'python3',
    [join(import.meta.dirname, '../harness/volume/volume-racer.py'), root, outside],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  let swapped = 0
  racer.stdout?.on('data', (text) => {
    swapped = Number(String(text).trim().split('\n').at(-1))
  })
  await until('the racer to swap', () => swapped > 0, { timeoutMs: 20_000 })
  return {
    swapped: () => swapped,
    async stop() {
      racer.kill('SIGKILL')
      await once(racer, 'close')
    },
  }
}

for (const updateMode of ['Live', 'Atomic', 'InPlace'] as const) {
  t.test(
    `${ROTATIONS} rotations of ${updateMode} against a racing container touch nothing outside`,
    { skip: !mayMount() && 'needs mount rights', timeout: 240_000 },
    async (t) => {
      const outside = mkdtempSync(join(tmpdir(), 'vault-files-outside-'))
      t.teardown(() => rmSync(outside, { recursive: true, force: true }))
      for (const name of SENTINELS) writeFileSync(join(outside, name), `of the node: ${name}`)
      const before = describe(outside)

      const root = mountedVolume(t, { sizeBytes })
      const shape = { updateMode, gid: undefined, sizeBytes }
      const volume = createVolumeFiles({ clock: createClock(), graceMs: 1 })
      const set = (generation: number) => ({ password: `p${generation}`.repeat(50), user: `u${generation}` })
      const apply = (generation: number) => volume.apply(root, shape, rendered(set(generation)))
      await apply(0)
      mkdirSync(join(root, 'decoy'))
      const racer = await startRacer(root, outside)

      const outcomes = { right: 0, faults: new Map<string, number>() }
      let generation = 0
      // On a busy machine the racer may get little CPU time: the rotations go on until it has had its chances.
      while (generation < ROTATIONS || (racer.swapped() <= ROTATIONS && generation < MAX_ROTATIONS)) {
        generation += 1
        try {
          await apply(generation)
          outcomes.right++
        } catch (error) {
          if (!(error instanceof FaultError && error.fault === 'volume_io')) throw error
          const reason = String(error.facts.reason)
          outcomes.faults.set(reason, (outcomes.faults.get(reason) ?? 0) + 1)
        }
        if (generation % 20 === 0) await volume.repair(root, shape).catch(() => undefined)
      }
      await racer.stop()
      const faults = [...outcomes.faults].map(([reason, times]) => `${times} × ${reason}`)
      t.comment(`${racer.swapped()} swaps, ${outcomes.right} went through, faults: ${faults.join('; ')}`)
      t.strictSame(describe(outside), before, 'every file outside is what it was')
      t.ok(racer.swapped() > ROTATIONS, 'the racer did race')

      await apply(generation + 1)
      t.strictSame(readByPath(root), set(generation + 1), 'and the next rotation puts the volume right')
      t.strictSame(
        readdirSync(root).filter((name) => /decoy|link|trash|away/.test(name)),
        [],
      )
    },
  )
}
