import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { createLimitedProcesses } from '../../src/sandbox/limited-processes.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeSandboxProcess } from '../fakes/sandbox-process.ts'

const task = { kind: 'validate', manifest: {} } as const
const budget = { cpuMs: 300, what: 'judging it' }

function bench() {
  const clock = new FakeClock()
  const processes: FakeSandboxProcess[] = []
  const start = () => {
    const sandboxProcess = new FakeSandboxProcess()
    processes.push(sandboxProcess)
    return sandboxProcess
  }
  const pool = createLimitedProcesses({ clock, start })
  /** Advances the time in small steps and runs the timers that are due. */
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 50) {
      await clock.advance(50)
      for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate)
    }
  }
  return { clock, processes, pool, pass }
}

t.test('one process does one task after the other, and ends after 15 seconds without one', async (t) => {
  const { clock, processes, pool, pass } = bench()
  for (const result of ['one', 'two']) {
    const running = pool.run(task, budget)
    processes[0]?.begin()
    t.equal(processes[0]?.isHeld, true, 'the plugin does not end while a task is under way')
    processes[0]?.finish(result)
    t.equal(await running, result)
    t.equal(processes[0]?.isHeld, false)
  }
  t.equal(processes.length, 1)
  await pass(14_000)
  t.equal(processes[0]?.isKilled, false)
  await pass(1_000)
  t.equal(processes[0]?.isKilled, true)
  t.equal(clock.waiting, 0, 'no timer is left behind')
  const running = pool.run(task, budget)
  processes[1]?.begin()
  processes[1]?.finish()
  await running
  t.equal(processes.length, 2)
})

t.test('a task is ended when its CPU time is used up, and the fault names the step', async (t) => {
  const { processes, pool, pass } = bench()
  const running = pool.run(task, budget)
  const [sandboxProcess] = processes
  sandboxProcess!.usedMs = 900
  sandboxProcess!.begin()
  sandboxProcess!.report({ kind: 'step', what: 'the template of file "a"' })
  sandboxProcess!.usedMs = 1_190
  await pass(50)
  t.equal(sandboxProcess?.isKilled, false, 'what it used before it began does not count')
  sandboxProcess!.usedMs = 1_210
  const failed = t.rejects(running, {
    fault: 'import_too_large',
    retry: 'slow',
    facts: { endedBy: 'time' },
    message: /judging it takes more than 300 ms of CPU time, ended at the template of file "a"/,
  })
  await pass(50)
  await failed
  t.equal(sandboxProcess?.isKilled, true)
  const next = pool.run(task, budget)
  processes[1]?.begin()
  processes[1]?.finish('next')
  t.equal(await next, 'next', 'the next task gets a process of its own')
})

t.test('a task on a busy node gets more time, but not forever', async (t) => {
  const { processes, pool, pass } = bench()
  const running = pool.run(task, budget)
  processes[0]?.begin()
  processes[0]!.usedMs = 20
  await pass(4_900)
  t.equal(processes[0]?.isKilled, false)
  const failed = t.rejects(running, { facts: { endedBy: 'time' }, message: /CPU time/ })
  await pass(200)
  await failed
})

t.test('a plugin that was blocked handles reports of a task before it ends the task', async (t) => {
  const { clock, processes, pool } = bench()
  const done = pool.run(task, budget)
  processes[0]?.begin()
  // The last report is in the pipe when the late timer fires, and has not been read yet.
  setImmediate(() => processes[0]?.finish('good'))
  processes[0]!.usedMs = 299 + 50
  await clock.advance(50)
  t.equal(await done, 'good')
  t.equal(processes[0]?.isKilled, false)
})

t.test(
  'a process that dies during a task is the fault of that task, one that dies before it is not',
  async (t) => {
    const { processes, pool } = bench()
    const eating = pool.run(task, budget)
    processes[0]?.begin()
    processes[0]?.die()
    await t.rejects(eating, {
      fault: 'import_too_large',
      facts: { endedBy: 'memory' },
      message: /more than 64 MiB/,
    })
    const waiting = pool.run(task, budget)
    processes[1]?.die()
    await new Promise(setImmediate)
    processes[2]?.begin()
    processes[2]?.finish('done')
    t.equal(await waiting, 'done')
    const hopeless = pool.run(task, budget)
    // The idle process dies, and so does its successor.
    processes[2]?.die()
    await new Promise(setImmediate)
    processes[3]?.die()
    await t.rejects(hopeless, { fault: 'internal', retry: 'soon', message: /unforeseen/ })
  },
)

t.test('a process with much memory after a task is not reused', async (t) => {
  const { processes, pool } = bench()
  const large = pool.run(task, budget)
  processes[0]?.begin()
  processes[0]?.finish('large', 200 << 20)
  await large
  t.equal(processes[0]?.isKilled, true)
})

t.test('faults arrive unchanged, and a task that cannot be sent costs no process', async (t) => {
  const { processes, pool } = bench()
  const failing = pool.run(task, budget)
  processes[0]?.begin()
  const fault = { fault: 'key_missing', facts: { key: 'k' } } as const
  processes[0]?.report({ kind: 'failed', fault, rssBytes: 1 })
  await t.rejects(failing, new FaultError('key_missing', { key: 'k' }))
  processes[0]!.failSendWith = new RangeError('Maximum call stack size exceeded')
  await t.rejects(pool.run(task, budget), RangeError)
  processes[0]!.failSendWith = undefined
  const next = pool.run(task, budget)
  processes[0]?.finish('next')
  t.equal(await next, 'next')
  t.equal(processes.length, 1)
})

t.test('closing ends running tasks', async (t) => {
  const { processes, pool } = bench()
  const running = pool.run(task, budget)
  processes[0]?.begin()
  const failed = t.rejects(running, { fault: 'shutting_down', message: /./ })
  pool.close()
  await failed
  t.equal(processes[0]?.isKilled, true)
  await t.rejects(pool.run(task, budget), { fault: 'shutting_down', message: /./ })
})

t.test('while a task takes long another process is warmed up, and both are kept for a while', async (t) => {
  const { processes, pool, pass } = bench()
  let reported = 0
  const long = pool.run(task, budget, () => {
    reported += 1
  })
  processes[0]?.begin()
  await pass(100)
  t.equal(processes.length, 1, 'a short task needs no second process')
  processes[0]!.usedMs = 100
  await pass(100)
  t.equal(reported, 1)
  t.equal(processes.length, 2)
  t.equal(processes[1]?.isWarm, true)
  const beside = pool.run(task, budget)
  t.equal(processes[1]?.tasks.length, 1, 'the other task waits for no process')
  processes[1]?.begin()
  processes[1]!.usedMs = 100
  await pass(50)
  t.equal(processes.length, 2, 'two at most')
  processes[1]?.finish()
  await beside
  processes[0]!.usedMs = 400
  const ended = t.rejects(long, { message: /CPU time/ })
  await pass(50)
  await ended
  t.strictSame([processes[0]?.isKilled, processes[1]?.isKilled], [true, false])
  t.equal(processes[2]?.isWarm, true, 'one that was killed is replaced at once')
  const next = pool.run(task, budget)
  t.equal(processes[1]?.tasks.length, 2, 'the one that has worked is taken first')
  processes[1]?.begin()
  processes[1]?.finish()
  await next
  t.equal(processes.length, 3)
  await pass(15_000)
  t.strictSame([processes[1]?.isKilled, processes[2]?.isKilled], [true, true])
  pool.close()
})

t.test('a warmed-up process that is not needed ends as an idle one does', async (t) => {
  const { processes, pool, pass } = bench()
  const long = pool.run(task, budget)
  processes[0]?.begin()
  processes[0]!.usedMs = 100
  await pass(50)
  processes[0]!.usedMs = 400
  const ended = t.rejects(long, { message: /CPU time/ })
  await pass(50)
  await ended
  t.strictSame([processes[0]?.isKilled, processes[1]?.isKilled], [true, false])
  await pass(15_000)
  t.equal(processes[1]?.isKilled, true)
  pool.close()
})
