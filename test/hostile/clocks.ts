import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { type Attack, runAttacks } from './harness/attack.ts'
import type { Attacker } from './harness/attacker.ts'

// The node's wall clock is stepped while the plugin runs: libfaketime (Debian: faketime) shifts what the plugin's
// process is told, and leaves its monotonic clock alone, as a real step does. Vault's clock and kubelet's tokens stay.

const found = findLibrary()
const folder = mkdtempSync(join(tmpdir(), 'vfc-clock-'))
const clock = join(folder, 'clock')
const file = { name: 'file', source: { path: 'attacker1/x', key: 'value' } }
/** Long enough for several rotations of the victim's volumes, at an interval of one second. */
const STAY_S = 4

function step(offset: string): void {
  writeFileSync(clock, `${offset}\n`)
}

function findLibrary(): string | undefined {
  const folders = ['/usr/lib', '/usr/lib64', '/usr/local/lib'].filter((path) => existsSync(path))
  const places = folders.flatMap((path) => [
    join(path, 'faketime'),
    ...readdirSync(path).map((name) => join(path, name, 'faketime')),
  ])
  return places.map((place) => join(place, 'libfaketime.so.1')).find((path) => existsSync(path))
}

async function mustStart(attacker: Attacker, importName: string, when: string): Promise<void> {
  const { error } = await attacker.attempt({ importName })
  attacker.expect(error === undefined, `a new pod ${when}: ${error?.message.slice(0, 250)}`)
}

/** The clock goes there, stays, and comes back; volumes rotate and pods start all the time. */
const stepping = (name: string, offsets: readonly string[], seconds: number, role: object = {}): Attack => ({
  name,
  finding: 18,
  async prepare(attacker) {
    step('+0')
    await attacker.put('x', { value: '0' })
    await attacker.stage.world.writeRole('clocked', role)
    attacker.later(() => step('+0'))
  },
  async run(attacker) {
    const spec = { role: 'clocked', files: [file], refreshInterval: '1s' }
    const { volume, error } = await attacker.strike('clocked', spec)
    if (error !== undefined) throw error
    const rewrites = attacker.countRewrites(volume)
    let writes = 0
    for (const offset of [...offsets, '+0']) {
      step(offset)
      const value = `at ${offset}, ${writes}`
      await attacker.put('x', { value })
      writes += 1
      await attacker.dwell(seconds)
      if (seconds >= STAY_S)
        attacker.expect(volume.read('file') === value, `no rotation within ${seconds} s of ${offset}`)
      await mustStart(attacker, 'clocked', `at ${offset}`)
    }
    attacker.expect(rewrites() <= writes + 1, `${rewrites()} rewrites for ${writes} new values`)
  },
})

const startingAt = (offset: string): Attack => ({
  name: `a process that starts at ${offset} and has its clock put right`,
  finding: 18,
  restarts: true,
  async prepare(attacker) {
    await attacker.put('x', { value: '0' })
    attacker.later(() => step('+0'))
  },
  async run(attacker) {
    await attacker.import('started', { files: [file], refreshInterval: '1s' })
    step(offset)
    await attacker.restart()
    await mustStart(attacker, 'started', `at ${offset}`)
    await attacker.dwell(1)
    step('+0')
    await attacker.dwell(STAY_S)
    await mustStart(attacker, 'started', 'with the right clock')
  },
})

const brief = { token_ttl: 3, token_max_ttl: 6 }
const attacks: Attack[] = [
  stepping('back by 3 hours', ['-3h'], STAY_S),
  stepping('forward by 3 hours', ['+3h'], STAY_S),
  stepping('back by 3 hours, with tokens of 3 s', ['-3h'], 5, brief),
  stepping('forward by 3 hours, with tokens of 3 s', ['+3h'], 5, brief),
  stepping(
    'to and fro twenty times',
    Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? '-3h' : '+3h')),
    0.25,
  ),
  stepping('forward by 30 years', ['+30y'], STAY_S),
  startingAt('+3h'),
  startingAt('-20y'),
]

if (found === undefined) {
  t.test('the clock is stepped', { skip: 'no libfaketime here (apt-get install faketime)' }, () => undefined)
} else {
  step('+0')
  await runAttacks('clocks', attacks, {
    env: {
      LD_PRELOAD: found,
      FAKETIME_TIMESTAMP_FILE: clock,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
      // A compile cache would be dated from the future.
      NODE_COMPILE_CACHE: '',
    },
  })
}
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
