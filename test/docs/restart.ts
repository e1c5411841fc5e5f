import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ROOT } from '../../deploy/generate/deploy-files.ts'
import { until } from '../harness/until.ts'

const script = join(ROOT, 'docs/examples/restart.sh')
const shells = ['dash', 'bash', 'busybox'].filter(
  (shell) => spawnSync(shell, ['--help'], { stdio: 'ignore' }).error === undefined,
)

/** restart.sh around a program, whose output is kept. */
function run(t: Test, shell: string, program: string) {
  const folder = mkdtempSync(join(tmpdir(), 'restart-'))
  const file = join(folder, 'app.env')
  const write = (text: string) => writeFileSync(file, text)
  write("export A='one'\nexport GONE='x'\n")
  const command = shell === 'busybox' ? ['sh', script] : [script]
  const child = spawn(shell, [...command, file, 'sh', '-c', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const output: string[] = []
  child.stdout.on('data', (bytes: Buffer) => output.push(...bytes.toString().split('\n').filter(Boolean)))
  const ended = once(child, 'exit')
  t.teardown(() => {
    child.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  })
  return { write, child, output, ended }
}

for (const shell of shells) {
  t.test(
    `${shell}: the program is restarted when its variables change, and ends with its shell`,
    async (t) => {
      const program = `echo "$A \${GONE-none} $$"; exec sleep 60`
      const { write, child, output, ended } = run(t, shell, program)
      await until('the first start', () => output.length === 1)
      write("export A='it'\\''s two'\n")
      await until('the second start', () => output.length === 2)
      t.match(output[0], /^one x \d+$/)
      t.match(output[1], /^it's two none \d+$/)
      const pids = output.map((line) => Number(/\d+$/.exec(line)?.[0]))
      t.throws(() => process.kill(pids[0] ?? 0, 0), { code: 'ESRCH' }, 'the first has ended')
      child.kill('SIGTERM')
      t.strictSame(await ended, [143, null])
      t.throws(() => process.kill(pids[1] ?? 0, 0), { code: 'ESRCH' }, 'and so has the second')
    },
  )

  t.test(`${shell}: a program that exits ends the loop, with its status`, async (t) => {
    const { ended } = run(t, shell, 'exit 7')
    t.strictSame(await ended, [7, null])
  })
}
