import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { lockStateDirectory } from '../../src/volume/state-lock.ts'
import { FakeLog } from '../fakes/log.ts'
import { temporaryDirectory } from '../harness/volume/volume.ts'

function setUp(t: Test) {
  const stateDir = join(temporaryDirectory(t), 'state')
  const log = new FakeLog()
  const waits: string[] = []
  let nowMs = 0
  let whileAsleep = () => {}
  const clock = {
    now: () => Date.UTC(2030, 0, 1),
    monotonic: () => nowMs,
    sleep: async (delayMs: number) => {
      nowMs += delayMs
      whileAsleep()
    },
  }
  const lock = () => lockStateDirectory({ stateDir, clock, log, onWait: () => waits.push('waits') })
  return {
    stateDir,
    log,
    lock,
    waits,
    passed: () => nowMs,
    onSleep: (task: () => void) => {
      whileAsleep = task
    },
  }
}

t.test('a free directory is created and locked at once', async (t) => {
  const { stateDir, log, lock, passed } = setUp(t)
  const release = await lock()
  t.equal(passed(), 0)
  t.strictSame(log.lines, [])
  const path = join(stateDir, 'lock')
  t.equal(readFileSync(path, 'utf8'), `pid ${process.pid} on ${hostname()} since 2030-01-01T00:00:00.000Z\n`)
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.equal(statSync(stateDir).mode & 0o777, 0o700)
  release()
  const next = await lock()
  t.equal(passed(), 0, 'what was given back is free')
  next()
})

t.test('a holder that ends in time is waited for and reported once', async (t) => {
  const { log, lock, waits, passed, onSleep } = setUp(t)
  const release = await lock()
  onSleep(() => {
    if (passed() >= 20_000) release()
  })
  const next = await lock()
  t.equal(passed(), 20_000)
  t.strictSame(waits, ['waits'])
  t.equal(log.lines.length, 1)
  t.match(log.lines[0], {
    level: 'warn',
    message: 'another process holds the state directory, waiting for its end',
    fields: { holder: new RegExp(`^pid ${process.pid} on .* since 2030-`) },
  })
  next()
})

t.test('a holder that does not end is named', async (t) => {
  const { stateDir, lock, passed } = setUp(t)
  const release = await lock()
  await t.rejects(lock(), {
    message: new RegExp(
      `^another process of the plugin \\(pid ${process.pid} on .* since 2030-.*\\) holds --state-dir "${stateDir}" ` +
        'and did not end within 60 s: end it, or',
    ),
  })
  t.equal(passed(), 60_000)
  release()
})

t.test('a file left by an earlier process is not a lock, however long it is', async (t) => {
  const { stateDir, lock } = setUp(t)
  mkdirSync(stateDir)
  writeFileSync(join(stateDir, 'lock'), 'x'.repeat(1 << 20))
  const release = await lock()
  t.ok(statSync(join(stateDir, 'lock')).size < 512)
  release()
})

t.test('a directory that cannot be used is named in the error', async (t) => {
  const { stateDir, lock } = setUp(t)
  writeFileSync(stateDir, 'a file')
  await t.rejects(lock(), { message: /^--state-dir ".*" cannot be used \(E[A-Z]+\): it must be a directory/ })
  const other = setUp(t)
  mkdirSync(other.stateDir)
  symlinkSync('/etc/hostname', join(other.stateDir, 'lock'))
  await t.rejects(other.lock(), { message: /cannot be used \(ELOOP\)/ })
})
