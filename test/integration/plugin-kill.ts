import { type FSWatcher, lstatSync, readdirSync, readlinkSync, watch } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { PodVolume } from '../harness/kubelet/pod-volume.ts'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'
import { describing, generationOf, startSetReader } from '../harness/volume/set-reader.ts'
import { describeDirectory } from '../harness/volume/volume.ts'

const KILLS = 22
const NAMES = ['tls.crt', 'tls.key', 'ca.crt']
/** The plugin's own, of app.ts. */
const GRACE_MS = 50
const REFRESH_MS = 250

const node = await startRealNode(t, { args: ['--max-volume-bytes=8Mi'] })
const { vault } = node
const files = NAMES.map((name) => ({ name, source: { path: 'kv1/set', key: name } }))
const spec = { role: 'app', refreshInterval: `${REFRESH_MS}ms`, files }

/** Large enough that a write takes a while; other lengths each time. */
async function store(generation: number): Promise<void> {
  const data = Object.fromEntries(
    NAMES.map((name, index) => [name, describing(generation, 20_000 + ((generation + index) % 3) * 120_000)]),
  )
  await vault.admin.write('kv1/set', data)
}

const dataOf = ({ path }: PodVolume) => readlinkSync(path('..data'))
const idleOf = (volume: PodVolume) => (dataOf(volume) === '..slot-a' ? '..slot-b' : '..slot-a')
/** The generation of a volume's set by path; undefined when it is not of one, or a file is torn. */
function generation({ read }: PodVolume): number | undefined {
  const found = new Set(NAMES.map((name) => generationOf(read(name))))
  return found.size === 1 ? [...found][0] : undefined
}

function areSlotsEqual({ path }: PodVolume): boolean {
  const [a, b] = ['..slot-a', '..slot-b'].map((slot) =>
    JSON.stringify(describeDirectory(path(slot)), bigIntAsText),
  )
  return a === b
}
const bigIntAsText = (_key: string, value: unknown) => (typeof value === 'bigint' ? `${value}` : value)

type Moment = { name: string; at(volume: PodVolume): Promise<void> }

/** Resolves at the first change in `folder` whose name fits, as soon as the kernel says so. */
async function firstChange(folder: string, fits: (name: string | null) => boolean): Promise<void> {
  let watcher: FSWatcher | undefined
  await new Promise<void>((resolve) => {
    watcher = watch(folder, (_event, name) => fits(name) && resolve())
  })
  watcher?.close()
}

const moments: Moment[] = [
  { name: 'any time', at: () => sleep(Math.random() * (REFRESH_MS + 150)) },
  {
    name: 'the idle slot is being written',
    async at(volume) {
      await firstChange(volume.path(idleOf(volume)), () => true)
      await sleep(Math.random() * 2)
    },
  },
  {
    name: 'the last file of the idle slot is written',
    at: (volume) => firstChange(volume.path(idleOf(volume)), (name) => name === 'ca.crt'),
  },
  { name: 'the swap', at: ({ target }) => firstChange(target, (name) => name === '..data_tmp') },
  {
    name: 'the grace and the settling after it',
    async at({ target }) {
      await firstChange(target, (name) => name === '..data')
      await sleep(GRACE_MS * (0.4 + 0.8 * Math.random()))
    },
  },
  {
    name: 'the idle slot is being synced',
    at: (volume) => firstChange(volume.path(dataOf(volume)), () => true),
  },
]

/** What the kill left, for the record. */
function found(volume: PodVolume, wanted: number): string {
  const inIdle = generationOf(readFileOf(volume, idleOf(volume)))
  if (generation(volume) !== wanted) return inIdle === wanted - 1 ? 'untouched' : 'idle slot half written'
  return areSlotsEqual(volume) ? 'done' : 'swapped, idle slot not synced'
}

function readFileOf({ read }: PodVolume, slot: string): string {
  return read(join(slot, NAMES[0]!))
}

t.test(
  `${KILLS} kills during rotations leave whole sets, and the next process goes on`,
  { timeout: 120_000 },
  async (t) => {
    await store(1)
    // A compile cache is written by an orderly exit only, and makes all the restarts below twice as fast.
    await node.stop()
    await node.start()
    const volumes: PodVolume[] = []
    for (const updateMode of ['Live', 'Atomic', 'InPlace']) {
      await node.writeImport(updateMode.toLowerCase(), { ...spec, updateMode })
      volumes.push(await node.publish({ importName: updateMode.toLowerCase() }))
    }
    const [live] = volumes as [PodVolume]
    const reader = startSetReader([live.target], NAMES, GRACE_MS)
    const outcomes = new Map<string, number>()

    for (let kill = 1; kill <= KILLS; kill++) {
      const wanted = kill + 1
      const moment = moments[kill % moments.length]!
      const inTime = moment.at(live)
      await store(wanted)
      await Promise.race([inTime, sleep(2_000, undefined, { ref: false })])
      await node.kill9()
      const outcome = found(live, wanted)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)

      const held = generation(live)
      t.ok(
        held === wanted || held === wanted - 1,
        `kill ${kill} (${moment.name}, ${outcome}): a whole set is held`,
      )
      await node.start()
      t.equal(generation(live), held, 'the next process leaves it')
      t.ok(areSlotsEqual(live), 'and repairs what was half done')
      t.notOk(lstatSync(live.path('..data_tmp'), { throwIfNoEntry: false }))
      for (const volume of volumes) await node.republish(volume)
      for (const [index, volume] of volumes.entries()) {
        await until(`volume ${index} to be right`, () => generation(volume) === wanted)
        t.strictSame(
          readdirSync(volume.target).filter((name) => name.startsWith('..')).length,
          [3, 2, 0][index],
        )
      }
      await until('the idle slot to be synced', () => areSlotsEqual(live))
    }

    const seen = await reader.stop()
    t.comment(`${JSON.stringify(Object.fromEntries(outcomes))}; ${seen.reads} reads`)
    t.match(seen, { torn: 0, missing: 0, mixed: 0, backwards: 0, examples: [] })
    t.ok(seen.reads > 1_000)
    t.ok(outcomes.size >= 3, `the kills fell into different steps: ${[...outcomes.keys()]}`)
    for (const volume of volumes) await node.unpublish(volume)
  },
)
