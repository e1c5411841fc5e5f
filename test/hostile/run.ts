// `npm run test:hostile [-- FILE...]`: attacks on the plugin, one file after the other, each on a node of its own in a
// mount namespace. With HOSTILE_PLUGIN_ROOT=DIR it is another checkout's plugin that is attacked.
// Prints what the victim met in each attack as a table; HOSTILE_TABLE=FILE writes it as Markdown too.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { buildTap } from '../harness/runner/build-tap.ts'
import { showTap } from '../harness/runner/tap-output.ts'
import type { Figures } from './harness/attack.ts'
import { tableOf } from './harness/table.ts'

const ROOT = resolve(import.meta.dirname, '../..')
/** Seconds for one file. */
const FILE_TIMEOUT = 900
/** A namespace of processes too: when the run is broken off, nothing of it goes on. */
const UNSHARE = [
  'unshare',
  '--mount',
  '--propagation=private',
  '--fork',
  '--pid',
  '--mount-proc',
  '--kill-child',
]

const HEADING = `# Figures of the red team

Written by \`HOSTILE_TABLE=docs/admins/red-team-figures.md npm run test:hostile\`; [red-team.md](red-team.md) says how to read
it. Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}.

`

const own = relative(ROOT, import.meta.filename)
const only = process.argv.slice(2)
const files =
  only.length > 0 ? only : globSync('test/hostile/*.ts', { cwd: ROOT }).filter((file) => file !== own)

const probe = spawnSync(UNSHARE[0] ?? '', [...UNSHARE.slice(1), 'true'], { encoding: 'utf8' })
if (process.getuid?.() !== 0 || probe.status !== 0) {
  // In a user namespace the attacker's container could not be played as root.
  console.error('test:hostile takes root and a mount namespace')
  process.exit(2)
}
buildTap()
const built = spawnSync('tsc', ['-p', 'tsconfig.build.json'], {
  cwd: process.env.HOSTILE_PLUGIN_ROOT ?? ROOT,
  stdio: 'inherit',
})
if (built.status !== 0) process.exit(built.status ?? 1)
const scratch = mkdtempSync(join(tmpdir(), 'vault-files-hostile-'))
const figuresFile = join(scratch, 'figures.jsonl')
const tap = ['tap', 'run', '--disable-coverage', '--reporter=tap', '--jobs=1', `--timeout=${FILE_TIMEOUT}`]
const child = spawn('unshare', [...UNSHARE.slice(1), ...tap, ...files.sort()], {
  cwd: ROOT,
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, HOSTILE_FIGURES: figuresFile },
})
const ended = once(child, 'close') as Promise<[number | null]>
const counts = await showTap(child.stdout, (file) => `npm run test:hostile -- ${file}`)
const [status] = await ended
const figures = existsSync(figuresFile)
  ? readFileSync(figuresFile, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Figures)
  : []
rmSync(scratch, { recursive: true, force: true })
const table = tableOf(figures)
console.log(table)
if (process.env.HOSTILE_TABLE) writeFileSync(process.env.HOSTILE_TABLE, `${HEADING}${table}\n`)
console.log(counts)
process.exit(status ?? 1)
