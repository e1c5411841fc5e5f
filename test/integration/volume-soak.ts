import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { createClock } from '../../src/ops/clock.ts'
import { createVolumeFiles } from '../../src/volume/volume-files.ts'
import { mayMount, mountedVolume } from '../harness/volume/tmpfs.ts'
import { rendered } from '../harness/volume/volume.ts'

const READERS = 2
const READS_EACH = 1_000_000
/** The default of LIVE-VOLUME.md. */
const GRACE_MS = 50
const NAMES = ['tls.crt', 'tls.key', 'ca.crt']

type Seen = {
  reads: number
  torn: number
  backwards: number
  mixed: number
  late: number
  generations: number
}

t.test(
  'a million reads during constant rotation meet no torn file and no mixed set',
  { skip: !mayMount() && 'needs mount rights', timeout: 120_000 },
  async (t) => {
    const root = mountedVolume(t)
    const volume = createVolumeFiles({ clock: createClock(), graceMs: GRACE_MS })
    const rotate = (generation: number) =>
      volume.apply(
        root,
        { updateMode: 'Live', gid: undefined, sizeBytes: 4 << 20 },
        rendered(setOf(generation)),
      )
    await rotate(0)

    const began = performance.now()
    let reading = true
    const readers = Promise.all(Array.from({ length: READERS }, () => startReader(root))).finally(() => {
      reading = false
    })
    let generation = 0
    while (reading) await rotate(++generation)
    const seen = await readers
    const seconds = (performance.now() - began) / 1000

    const sum = (count: keyof Seen) => seen.reduce((total, reader) => total + reader[count], 0)
    t.comment(
      `${sum('reads')} reads, ${(generation / seconds).toFixed(1)} rotations/s for ${seconds.toFixed(1)} s, ` +
        `${sum('late')} read slower than the grace and so not whole`,
    )
    t.ok(sum('reads') >= 1_000_000)
    t.equal(sum('torn'), 0, 'no torn file')
    t.equal(sum('mixed'), 0, 'no mixed set')
    t.equal(sum('backwards'), 0, 'no value older than one already seen')
    t.ok(generation > 50, 'the secret did rotate meanwhile')
    for (const { generations } of seen) t.ok(generations > generation / 2, 'and the readers saw it rotate')
  },
)

async function startReader(root: string): Promise<Seen> {
  const script = join(import.meta.dirname, '../harness/volume/soak-reader.py')
  const args = [script, root, String(READS_EACH), String(GRACE_MS / 1000), ...NAMES]
  const { stdout } = await promisify(execFile)('python3', args)
  return JSON.parse(stdout)
}

/** Short and long alternately, another one each time. */
function setOf(generation: number): Record<string, string> {
  return Object.fromEntries(
    NAMES.map((name, index) => [name, describing(generation, (generation + index) % 2 === 0 ? 100 : 9000)]),
  )
}

/** A content with a check that it is whole; see soak-reader.py. */
function describing(generation: number, bytes: number): string {
  const digits = String(generation).padStart(8, '0')
  return (digits + String(bytes).padStart(8, '0')).padEnd(bytes, digits)
}
