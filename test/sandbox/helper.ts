import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { createClock } from '../../src/ops/clock.ts'
import { startHelper } from '../../src/sandbox/helper.ts'
import { createRunner } from '../../src/sandbox/runner.ts'
import { until } from '../harness/until.ts'

const program = new URL('../harness/hostile/sandbox-hog.ts', import.meta.url)
const budget = { cpuMs: 200, what: 'judging it' }

function bench(t: { teardown(task: () => void): void }) {
  const runner = createRunner({ clock: createClock(), start: () => startHelper(program) })
  t.teardown(() => runner.close())
  return (manifest: string, cpuMs = 200) => runner.run({ kind: 'judge', manifest }, { ...budget, cpuMs })
}

t.test('an endless loop is ended at its CPU budget, and our own loop goes on meanwhile', async (t) => {
  const run = bench(t)
  await run('environment')
  let turns = 0
  const turning = setInterval(() => (turns += 1), 5)
  await t.rejects(run('loop'), { facts: { endedBy: 'time' }, message: /ended at loop/ })
  clearInterval(turning)
  t.ok(turns > 20, `our loop turned ${turns} times`)
  t.match(await run('environment'), {}, 'and the next job is done')
})

t.test('memory that runs out ends the process that took it, and not ours', async (t) => {
  const run = bench(t)
  const before = process.memoryUsage.rss()
  await t.rejects(run('eat', 60_000), {
    fault: 'import_too_large',
    facts: { endedBy: 'memory' },
    message: /takes more than 64 MiB of memory, ended at eat/,
  })
  const grownMiB = (process.memoryUsage.rss() - before) / 2 ** 20
  t.ok(grownMiB < 20, `we grew by ${Math.round(grownMiB)} MiB`)
  t.match(await run('environment'), {})
})

t.test('nothing of our environment goes along, and nothing it prints comes out', async (t) => {
  process.env.VAULT_FILES_CANARY = 'canary'
  t.teardown(() => delete process.env.VAULT_FILES_CANARY)
  // tap adds variables of its own to every process that a test starts.
  t.notHas(await bench(t)('environment'), { VAULT_FILES_CANARY: /./ })
  t.notHas(await bench(t)('environment'), { PATH: /./ })
  const script = `
    const { startHelper } = await import(${JSON.stringify(new URL('../../src/sandbox/helper.ts', import.meta.url))})
    const helper = startHelper(new URL(${JSON.stringify(program)}))
    helper.listen({ onGone: () => process.exit(9), onTold: (told) => told.kind === 'done' && helper.hold(false) })
    helper.send({ kind: 'judge', manifest: 'print' })`
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script])
  t.strictSame([stdout.toString(), stderr.toString(), status], ['', '', 0], 'an idle one keeps nobody alive')
})

t.test('it writes no core file and is the first to go when memory runs out', async (t) => {
  const script = `
    const { createSyscalls } = await import(${JSON.stringify(new URL('../../src/volume/syscalls.ts', import.meta.url))})
    const { startHelper } = await import(${JSON.stringify(new URL('../../src/sandbox/helper.ts', import.meta.url))})
    const { readFileSync } = await import('node:fs')
    createSyscalls().forbidCoreDumps()
    const helper = startHelper(new URL(${JSON.stringify(program)}))
    const children = readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').trim()
    console.log(readFileSync('/proc/' + children + '/oom_score_adj', 'utf8'))
    helper.listen({ onGone: () => process.exit(9), onTold(told) {
      if (told.kind !== 'done') return
      console.log(told.result)
      process.exit(0)
    } })
    helper.send({ kind: 'judge', manifest: 'limits' })`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script])
  t.match(stdout.toString(), /^1000\n/)
  t.match(stdout.toString(), /Max core file size +1 +1 /)
})

t.test('a process that ends takes its helper along, even out of a loop', async (t) => {
  const script = `
    const { startHelper } = await import(${JSON.stringify(new URL('../../src/sandbox/helper.ts', import.meta.url))})
    const { readFileSync } = await import('node:fs')
    const helper = startHelper(new URL(${JSON.stringify(program)}))
    helper.listen({ onGone: () => process.exit(9), onTold(told) {
      if (told.kind !== 'step') return
      console.log(readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8'))
      process.exit(0)
    } })
    helper.send({ kind: 'judge', manifest: 'loop' })`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script])
  const pid = Number(stdout.toString())
  t.ok(pid > 1)
  const isRunning = () => {
    try {
      // A dead one that nobody has asked after yet has no command line.
      return readFileSync(`/proc/${pid}/cmdline`).byteLength > 0
    } catch {
      return false
    }
  }
  await until('the helper to be gone', async () => !isRunning())
})
