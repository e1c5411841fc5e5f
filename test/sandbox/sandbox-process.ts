import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { createClock } from '../../src/ops/clock.ts'
import { createLimitedProcesses } from '../../src/sandbox/limited-processes.ts'
import { startSandboxProcess } from '../../src/sandbox/sandbox-process.ts'
import { until } from '../harness/until.ts'

const program = new URL('../harness/hostile/sandbox-hog.ts', import.meta.url)
const budget = { cpuMs: 200, what: 'judging it' }

function bench(t: { teardown(task: () => void): void }) {
  const pool = createLimitedProcesses({ clock: createClock(), start: () => startSandboxProcess(program) })
  t.teardown(() => pool.close())
  return (manifest: string, cpuMs = 200) => pool.run({ kind: 'validate', manifest }, { ...budget, cpuMs })
}

t.test('an endless loop is ended at its CPU budget, and our own loop goes on meanwhile', async (t) => {
  const run = bench(t)
  await run('environment')
  let turns = 0
  const turning = setInterval(() => (turns += 1), 5)
  await t.rejects(run('loop'), { facts: { endedBy: 'time' }, message: /ended at loop/ })
  clearInterval(turning)
  t.ok(turns > 20, `our loop turned ${turns} times`)
  t.match(await run('environment'), {}, 'and the next task is done')
})

t.test('a task that runs out of memory ends its own process and not ours', async (t) => {
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

t.test('it gets none of our environment, and its output is discarded', async (t) => {
  process.env.VAULT_FILES_CANARY = 'canary'
  t.teardown(() => delete process.env.VAULT_FILES_CANARY)
  // tap adds variables of its own to every process that a test starts.
  t.notHas(await bench(t)('environment'), { VAULT_FILES_CANARY: /./ })
  t.notHas(await bench(t)('environment'), { PATH: /./ })
  const script = `
    const { startSandboxProcess } = await import(${JSON.stringify(new URL('../../src/sandbox/sandbox-process.ts', import.meta.url))})
    const child = startSandboxProcess(new URL(${JSON.stringify(program)}))
    child.listen({ onExit: () => process.exit(9), onReport: (report) => report.kind === 'done' && child.hold(false) })
    child.send({ kind: 'validate', manifest: 'print' })`
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script])
  t.strictSame(
    [stdout.toString(), stderr.toString(), status],
    ['', '', 0],
    'an idle one does not keep the plugin alive',
  )
})

t.test('it writes no core file and is killed first when memory runs out', async (t) => {
  const script = `
    const { createSyscalls } = await import(${JSON.stringify(new URL('../../src/volume/syscalls.ts', import.meta.url))})
    const { startSandboxProcess } = await import(${JSON.stringify(new URL('../../src/sandbox/sandbox-process.ts', import.meta.url))})
    const { readFileSync } = await import('node:fs')
    createSyscalls().forbidCoreDumps()
    const child = startSandboxProcess(new URL(${JSON.stringify(program)}))
    const children = readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').trim()
    console.log(readFileSync('/proc/' + children + '/oom_score_adj', 'utf8'))
    child.listen({ onExit: () => process.exit(9), onReport(report) {
      if (report.kind !== 'done') return
      console.log(report.result)
      process.exit(0)
    } })
    child.send({ kind: 'validate', manifest: 'limits' })`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script])
  t.match(stdout.toString(), /^1000\n/)
  t.match(stdout.toString(), /Max core file size +1 +1 /)
})

t.test('a plugin that ends kills its sandbox process, even in an endless loop', async (t) => {
  const script = `
    const { startSandboxProcess } = await import(${JSON.stringify(new URL('../../src/sandbox/sandbox-process.ts', import.meta.url))})
    const { readFileSync } = await import('node:fs')
    const child = startSandboxProcess(new URL(${JSON.stringify(program)}))
    child.listen({ onExit: () => process.exit(9), onReport(report) {
      if (report.kind !== 'step') return
      console.log(readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8'))
      process.exit(0)
    } })
    child.send({ kind: 'validate', manifest: 'loop' })`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script])
  const pid = Number(stdout.toString())
  t.ok(pid > 1)
  const isRunning = () => {
    try {
      // A zombie has no command line.
      return readFileSync(`/proc/${pid}/cmdline`).byteLength > 0
    } catch {
      return false
    }
  }
  await until('the sandbox process to end', async () => !isRunning())
})
