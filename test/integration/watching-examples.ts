import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { UpdateMode } from '../../src/core/imports/import.ts'
import { createVolumeFiles } from '../../src/volume/volume-files.ts'
import { realClock } from '../harness/real-clock.ts'
import { until } from '../harness/until.ts'
import { mayMount, mountedVolume } from '../harness/volume/tmpfs.ts'
import { owner, rendered } from '../harness/volume/volume.ts'

const EXAMPLES = join(import.meta.dirname, '../../docs/examples')
const FILE = 'db-password'
const SIZE = 1 << 20

/** The first argument of each makes the program say that it is there. */
const examples: { name: string; probe: string[]; command: string[]; modes: UpdateMode[] }[] = [
  {
    name: 'Python',
    probe: ['python3', '--version'],
    command: ['python3', 'watch.py'],
    modes: ['Live', 'InPlace'],
  },
  {
    name: 'Node',
    probe: [process.execPath, '--version'],
    command: [process.execPath, 'watch.mjs'],
    modes: ['Live', 'InPlace'],
  },
  {
    name: 'shell',
    probe: ['inotifywait', '--help'],
    command: ['sh', 'watch.sh'],
    modes: ['Live', 'InPlace'],
  },
  { name: 'Go', probe: ['go', 'version'], command: ['GO', 'watch.go'], modes: ['Live', 'InPlace'] },
  {
    name: 'Java',
    probe: ['java', '-version'],
    command: ['java', 'Watch.java'],
    modes: ['Live', 'InPlace', 'Atomic'],
  },
]

t.setTimeout(300_000)

for (const { name, probe, command, modes } of examples) {
  const skip = whyNot(probe)
  t.test(`the ${name} example of docs/app-teams/watching-files.md sees every change`, { skip }, async (t) => {
    const program = command[0] === 'GO' ? [buildGo(t)] : [command[0] ?? '', join(EXAMPLES, command[1] ?? '')]
    for (const mode of modes) await t.test(mode, (t) => seesEveryChange(t, program, mode))
  })
}

async function seesEveryChange(t: Test, program: string[], updateMode: UpdateMode): Promise<void> {
  const root = mountedVolume(t, { sizeBytes: SIZE })
  const files = createVolumeFiles({ clock: realClock, graceMs: 50, owner })
  const put = (length: number) =>
    files.apply(
      root,
      { updateMode, gid: undefined, sizeBytes: SIZE },
      rendered({ [FILE]: 'x'.repeat(length), other: 'y' }),
    )
  await put(10)
  const lines = watchLines(t, [...program, join(root, FILE)])
  await until('the example to start', () => lines().includes('loaded 10 bytes'), { timeoutMs: 60_000 })
  for (const length of [11, 5000, 12]) {
    await put(length)
    await until(`${length} bytes to be seen`, () => lines().at(-1) === `loaded ${length} bytes`, {
      timeoutMs: 15_000,
    })
  }
  // InPlace lets a reader meet a file in the middle of its write.
  if (updateMode === 'InPlace') return
  t.strictSame(
    lines(),
    [10, 11, 5000, 12].map((length) => `loaded ${length} bytes`),
    'each once and never torn',
  )
}

/** What the program has printed by now; it is ended with the test. */
function watchLines(t: Test, [program = '', ...args]: string[]): () => string[] {
  // A group of its own: a shell's pipeline ends as a whole.
  const child = spawn(program, args, { detached: true, stdio: ['ignore', 'pipe', 'inherit'] })
  let printed = ''
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString()
  })
  t.teardown(() => end(child))
  return () => printed.trim().split('\n')
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null) return
  const exited = new Promise((resolve) => child.once('exit', resolve))
  process.kill(-child.pid, 'SIGKILL')
  await exited
}

/** `go run` would leave the program behind when it is killed. */
function buildGo(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-example-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const binary = join(folder, 'watch')
  const built = spawnSync('go', ['build', '-o', binary, join(EXAMPLES, 'watch.go')], { encoding: 'utf8' })
  if (built.status !== 0) throw new Error(`go build: ${built.stderr}`)
  return binary
}

function whyNot([program = '', ...args]: string[]): string | false {
  if (!mayMount()) return 'mounting is not allowed here'
  return spawnSync(program, args).error === undefined ? false : `${program} is not on PATH`
}
