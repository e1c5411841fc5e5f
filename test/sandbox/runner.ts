import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { createRunner } from '../../src/sandbox/runner.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeHelper } from '../fakes/helper.ts'

const job = { kind: 'judge', manifest: {} } as const
const budget = { cpuMs: 300, what: 'judging it' }

function bench() {
  const clock = new FakeClock()
  const helpers: FakeHelper[] = []
  const start = () => {
    const helper = new FakeHelper()
    helpers.push(helper)
    return helper
  }
  const runner = createRunner({ clock, start })
  /** Time goes by in small steps, and what falls due is done. */
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 50) {
      await clock.advance(50)
      for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate)
    }
  }
  return { clock, helpers, runner, pass }
}

t.test(
  'one process does one job after the other, and ends after a quarter of a minute without one',
  async (t) => {
    const { clock, helpers, runner, pass } = bench()
    for (const result of ['one', 'two']) {
      const running = runner.run(job, budget)
      helpers[0]?.begin()
      t.equal(helpers[0]?.isHeld, true, 'the plugin does not end while a job is under way')
      helpers[0]?.finish(result)
      t.equal(await running, result)
      t.equal(helpers[0]?.isHeld, false)
    }
    t.equal(helpers.length, 1)
    await pass(14_000)
    t.equal(helpers[0]?.isKilled, false)
    await pass(1_000)
    t.equal(helpers[0]?.isKilled, true)
    t.equal(clock.waiting, 0, 'no timer is left behind')
    const running = runner.run(job, budget)
    helpers[1]?.begin()
    helpers[1]?.finish()
    await running
    t.equal(helpers.length, 2)
  },
)

t.test('a job is ended when its CPU time is used up, and says where it stood', async (t) => {
  const { helpers, runner, pass } = bench()
  const running = runner.run(job, budget)
  const [helper] = helpers
  helper!.usedMs = 900
  helper!.begin()
  helper!.tell({ kind: 'step', what: 'the template of file "a"' })
  helper!.usedMs = 1_190
  await pass(50)
  t.equal(helper?.isKilled, false, 'what it used before it began does not count')
  helper!.usedMs = 1_210
  const failed = t.rejects(running, {
    fault: 'import_too_large',
    retry: 'slow',
    facts: { endedBy: 'time' },
    message: /judging it takes more than 300 ms of CPU time, ended at the template of file "a"/,
  })
  await pass(50)
  await failed
  t.equal(helper?.isKilled, true)
  const next = runner.run(job, budget)
  helpers[1]?.begin()
  helpers[1]?.finish('next')
  t.equal(await next, 'next', 'the next job gets a process of its own')
})

t.test('a job on a node that is busy is given time, though not for ever', async (t) => {
  const { helpers, runner, pass } = bench()
  const running = runner.run(job, budget)
  helpers[0]?.begin()
  helpers[0]!.usedMs = 20
  await pass(4_900)
  t.equal(helpers[0]?.isKilled, false)
  const failed = t.rejects(running, { facts: { endedBy: 'time' }, message: /CPU time/ })
  await pass(200)
  await failed
})

t.test('a plugin that stood still hears what a job has said meanwhile before it judges', async (t) => {
  const { clock, helpers, runner } = bench()
  const done = runner.run(job, budget)
  helpers[0]?.begin()
  // Its last word is in the pipe when the timer comes, late, and the loop has not read it yet.
  setImmediate(() => helpers[0]?.finish('good'))
  helpers[0]!.usedMs = 299 + 50
  await clock.advance(50)
  t.equal(await done, 'good')
  t.equal(helpers[0]?.isKilled, false)
})

t.test('a process that dies at a job is the fault of that job, one that dies before is not', async (t) => {
  const { helpers, runner } = bench()
  const eating = runner.run(job, budget)
  helpers[0]?.begin()
  helpers[0]?.die()
  await t.rejects(eating, {
    fault: 'import_too_large',
    facts: { endedBy: 'memory' },
    message: /more than 64 MiB/,
  })
  const waiting = runner.run(job, budget)
  helpers[1]?.die()
  await new Promise(setImmediate)
  helpers[2]?.begin()
  helpers[2]?.finish('done')
  t.equal(await waiting, 'done')
  const hopeless = runner.run(job, budget)
  // An idle one was left: it goes, and so does its successor.
  helpers[2]?.die()
  await new Promise(setImmediate)
  helpers[3]?.die()
  await t.rejects(hopeless, { fault: 'internal', retry: 'soon', message: /unforeseen/ })
})

t.test('a job that has filled the memory leaves none of it to the next', async (t) => {
  const { helpers, runner } = bench()
  const large = runner.run(job, budget)
  helpers[0]?.begin()
  helpers[0]?.finish('large', 200 << 20)
  await large
  t.equal(helpers[0]?.isKilled, true)
})

t.test('faults come through as they were, and what cannot be sent costs no process', async (t) => {
  const { helpers, runner } = bench()
  const failing = runner.run(job, budget)
  helpers[0]?.begin()
  const fault = { fault: 'key_missing', facts: { key: 'k' } } as const
  helpers[0]?.tell({ kind: 'failed', fault, rssBytes: 1 })
  await t.rejects(failing, new FaultError('key_missing', { key: 'k' }))
  helpers[0]!.failSendWith = new RangeError('Maximum call stack size exceeded')
  await t.rejects(runner.run(job, budget), RangeError)
  helpers[0]!.failSendWith = undefined
  const next = runner.run(job, budget)
  helpers[0]?.finish('next')
  t.equal(await next, 'next')
  t.equal(helpers.length, 1)
})

t.test('closing ends what is under way', async (t) => {
  const { helpers, runner } = bench()
  const running = runner.run(job, budget)
  helpers[0]?.begin()
  const failed = t.rejects(running, { fault: 'shutting_down', message: /./ })
  runner.close()
  await failed
  t.equal(helpers[0]?.isKilled, true)
  await t.rejects(runner.run(job, budget), { fault: 'shutting_down', message: /./ })
})

t.test('while a job takes long another process is made ready, and both are kept for a while', async (t) => {
  const { helpers, runner, pass } = bench()
  let told = 0
  const long = runner.run(job, budget, () => {
    told += 1
  })
  helpers[0]?.begin()
  await pass(100)
  t.equal(helpers.length, 1, 'a short job needs no second process')
  helpers[0]!.usedMs = 100
  await pass(100)
  t.equal(told, 1)
  t.equal(helpers.length, 2)
  t.equal(helpers[1]?.isWarm, true)
  const beside = runner.run(job, budget)
  t.equal(helpers[1]?.jobs.length, 1, 'the other job waits for no process')
  helpers[1]?.begin()
  helpers[1]!.usedMs = 100
  await pass(50)
  t.equal(helpers.length, 2, 'two at most')
  helpers[1]?.finish()
  await beside
  helpers[0]!.usedMs = 400
  const ended = t.rejects(long, { message: /CPU time/ })
  await pass(50)
  await ended
  t.strictSame([helpers[0]?.isKilled, helpers[1]?.isKilled], [true, false])
  t.equal(helpers[2]?.isWarm, true, 'one that was killed is replaced at once')
  const next = runner.run(job, budget)
  t.equal(helpers[1]?.jobs.length, 2, 'the one that has worked is taken first')
  helpers[1]?.begin()
  helpers[1]?.finish()
  await next
  t.equal(helpers.length, 3)
  await pass(15_000)
  t.strictSame([helpers[1]?.isKilled, helpers[2]?.isKilled], [true, true])
  runner.close()
})

t.test('a process that was made ready for nothing ends as an idle one does', async (t) => {
  const { helpers, runner, pass } = bench()
  const long = runner.run(job, budget)
  helpers[0]?.begin()
  helpers[0]!.usedMs = 100
  await pass(50)
  helpers[0]!.usedMs = 400
  const ended = t.rejects(long, { message: /CPU time/ })
  await pass(50)
  await ended
  t.strictSame([helpers[0]?.isKilled, helpers[1]?.isKilled], [true, false])
  await pass(15_000)
  t.equal(helpers[1]?.isKilled, true)
  runner.close()
})
