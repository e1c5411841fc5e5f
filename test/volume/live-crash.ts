import { mkdirSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Clock } from '../../src/core/ports/clock.ts'
import { createVolumeFiles } from '../../src/volume/volume-files.ts'
import { createFailingDisk, type Deed, Killed } from '../fakes/failing-disk.ts'
import {
  describeDirectory,
  inode,
  owner,
  readActive,
  readByPath,
  rendered,
  temporaryDirectory,
} from '../harness/volume/volume.ts'

const shape = { updateMode: 'Live', gid: undefined, sizeBytes: 1 << 20 } as const

/** Contents change with and without their length, one file is added, one removed, one changes only its mode, one stays. */
const OLD = { grows: 'g', shrinks: 'a long old value', same: 'length', removed: 'old', mode: 'm', stays: 's' }
const NEW = {
  grows: 'a much longer value',
  shrinks: 'x',
  same: 'LENGTH',
  added: 'new',
  mode: 'm',
  stays: 's',
}
const oldFiles = rendered(OLD)
const newFiles = rendered(NEW).map((file) => (file.name === 'mode' ? { ...file, mode: 0o600 } : file))
const CHANGED = ['grows', 'shrinks', 'same']

const clock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: () => () => {},
  sleep: async () => {},
}

function volumeOn(disk: ReturnType<typeof createFailingDisk>) {
  return createVolumeFiles({ clock, graceMs: 50, disk, owner })
}

/** An update from OLD to NEW in which the process is killed before step `dieAt`. */
async function killedUpdate(root: string, dieAt: number, tear: boolean, deeds: Deed[]) {
  rmSync(root, { recursive: true, force: true })
  mkdirSync(root)
  await volumeOn(createFailingDisk({})).apply(root, shape, oldFiles)
  const disk = createFailingDisk({ dieAt, tear, deeds })
  const killed = await volumeOn(disk)
    .apply(root, shape, newFiles)
    .then(() => false, wasKilled)
  return { killed, steps: disk.steps() }
}

function wasKilled(error: unknown): true {
  if (error instanceof Killed) return true
  throw error
}

function slotsAreEqual(root: string): boolean {
  const [a, b] = ['..slot-a', '..slot-b'].map((slot) =>
    JSON.stringify(describeDirectory(join(root, slot)), text),
  )
  return a === b
}

function text(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

/** Both inodes of each changed file were modified after the last swap to NEW: a watch set on either woke up. */
function untouched(root: string, deeds: Deed[]): string[] {
  const swap = deeds.findLastIndex(({ kind }) => kind === 'swap')
  if (swap === -1) return ['no swap']
  const woken = new Set(deeds.slice(swap + 1).map((deed) => (deed.kind === 'modify' ? deed.inode : 0)))
  return CHANGED.flatMap((name) =>
    ['..slot-a', '..slot-b']
      .map((slot) => `${slot}/${name}`)
      .filter((path) => !woken.has(inode(join(root, path)))),
  )
}

for (const tear of [false, true]) {
  t.test(`an update killed at any step${tear ? ', writes half done,' : ''} is repaired`, async (t) => {
    const root = join(temporaryDirectory(t), 'target')
    let dieAt = 0
    for (; ; dieAt++) {
      const deeds: Deed[] = []
      const { killed } = await killedUpdate(root, dieAt, tear, deeds)
      if (!killed) break
      const visible = readActive(root)
      const whole = [OLD, NEW].find((set) => JSON.stringify(sorted(set)) === JSON.stringify(visible))
      if (!whole) t.fail(`step ${dieAt}: readers see a mixed set`, { visible })

      const next = createFailingDisk({ deeds })
      t.equal(await volumeOn(next).repair(root, shape), true)
      if (!slotsAreEqual(root)) t.fail(`step ${dieAt}: repair leaves the slots different`)
      t.strictSame(
        readByPath(root),
        sorted(whole ?? {}),
        `step ${dieAt}: repair keeps the set that was visible`,
      )

      await volumeOn(next).apply(root, shape, newFiles)
      t.strictSame(readByPath(root), sorted(NEW))
      if (!slotsAreEqual(root)) t.fail(`step ${dieAt}: apply leaves the slots different`)
      t.strictSame(untouched(root, deeds), [], `step ${dieAt}: every watcher was woken after the swap`)
      t.strictSame(
        readdirSync(root)
          .filter((name) => name.startsWith('..'))
          .sort(),
        ['..data', '..slot-a', '..slot-b'],
      )
    }
    t.ok(dieAt > 30, `all ${dieAt} steps were tried`)
  })
}

t.test('an update killed at any step is finished by the next apply without a repair', async (t) => {
  const root = join(temporaryDirectory(t), 'target')
  let dieAt = 0
  for (; ; dieAt++) {
    const deeds: Deed[] = []
    const { killed } = await killedUpdate(root, dieAt, true, deeds)
    if (!killed) break
    await volumeOn(createFailingDisk({ deeds })).apply(root, shape, newFiles)
    t.strictSame(readByPath(root), sorted(NEW))
    t.ok(slotsAreEqual(root))
    t.strictSame(untouched(root, deeds), [], `step ${dieAt}: every watcher was woken after the swap`)
  }
  t.ok(dieAt > 30, `all ${dieAt} steps were tried`)
})

t.test('a repair killed at any step is repaired by the next one', async (t) => {
  const root = join(temporaryDirectory(t), 'target')
  const { steps } = await killedUpdate(root, Number.POSITIVE_INFINITY, false, [])
  for (const dieAt of [Math.floor(steps / 3), Math.floor(steps / 2), steps - 8, steps - 3]) {
    let again = 0
    for (; ; again++) {
      const deeds: Deed[] = []
      await killedUpdate(root, dieAt, true, deeds)
      const visible = readActive(root)
      const killed = await volumeOn(createFailingDisk({ dieAt: again, deeds }))
        .repair(root, shape)
        .then(() => false, wasKilled)
      t.strictSame(readActive(root), visible, 'what readers see stays')
      const next = volumeOn(createFailingDisk({ deeds }))
      t.equal(await next.repair(root, shape), true)
      t.ok(slotsAreEqual(root))
      await next.apply(root, shape, newFiles)
      t.strictSame(untouched(root, deeds), [])
      if (!killed) break
    }
    t.ok(again > 0, `all ${again} steps were tried`)
  }
})

t.test('a first apply killed at any step shows nothing or all of it', async (t) => {
  const root = join(temporaryDirectory(t), 'target')
  let dieAt = 0
  for (; ; dieAt++) {
    rmSync(root, { recursive: true, force: true })
    mkdirSync(root)
    const killed = await volumeOn(createFailingDisk({ dieAt, tear: true }))
      .apply(root, shape, newFiles)
      .then(() => false, wasKilled)
    if (!killed) break
    const visible = readActive(root)
    if (visible) t.strictSame(visible, sorted(NEW), `step ${dieAt}`)
    const next = volumeOn(createFailingDisk({}))
    t.equal(
      await next.repair(root, shape),
      visible !== undefined,
      `step ${dieAt}: repair returns whether it is complete`,
    )
    await next.apply(root, shape, newFiles)
    t.strictSame(readByPath(root), sorted(NEW))
    t.ok(slotsAreEqual(root))
  }
  t.ok(dieAt > 30, `all ${dieAt} steps were tried`)
})

t.test('between any two steps of an update readers see one whole set', async (t) => {
  const root = temporaryDirectory(t)
  await volumeOn(createFailingDisk({})).apply(root, shape, oldFiles)
  const seen: string[] = []
  const onStep = () => {
    const set = JSON.stringify(readActive(root))
    if (seen.at(-1) !== set) seen.push(set)
  }
  await volumeOn(createFailingDisk({ onStep })).apply(root, shape, newFiles)
  t.strictSame(
    seen,
    [JSON.stringify(sorted(OLD)), JSON.stringify(sorted(NEW))],
    'old, then new, nothing else',
  )
  t.match(readlinkSync(join(root, '..data')), /^\.\.slot-[ab]$/)
})

function sorted(set: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(set).sort(([one], [other]) => (one < other ? -1 : 1)))
}
