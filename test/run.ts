// Runs the suites: `node test/run.ts [unit|integration] [FILE...]`. Both, with coverage enforced, when none is named.
// Integration tests mount: root gets a mount namespace of its own, an ordinary user one in a user namespace,
// so that nothing can be left mounted on the machine.
import { spawnSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const LINES_COVERED_PERCENT = 90

const suites = {
  unit: ['test/architecture.ts', 'test/{core,flow,vault,files,volume,grpc,ops,demo}/*.ts'],
  integration: ['test/integration/*.ts'],
} as const

const [suite, ...only] = process.argv.slice(2)
if (suite !== undefined && suite !== 'unit' && suite !== 'integration') {
  console.error(`unknown suite ${suite}: unit, integration, or none for both`)
  process.exit(2)
}

const wanted = suite === undefined ? [...suites.unit, ...suites.integration] : [...suites[suite]]
const files = only.length > 0 ? only : globSync(wanted).sort()
const reports = mkdtempSync(join(tmpdir(), 'vault-files-csi-test-'))
const tapFile = join(reports, 'results.tap')
const tap = ['tap', 'run', '--disable-coverage', '--jobs=2', '--timeout=300', `--output-file=${tapFile}`]
const coverage = [
  'c8',
  '--all',
  '--src=src',
  '--include=src/**/*.ts',
  '--extension=.ts',
  '--reporter=text',
  `--temp-directory=${join(reports, 'coverage')}`,
  '--check-coverage',
  `--lines=${LINES_COVERED_PERCENT}`,
  '--branches=0',
  '--functions=0',
  '--statements=0',
]
const command = [...namespace(), ...(suite === undefined ? coverage : []), ...tap, ...files]
const { status, error } = spawnSync(command[0] ?? '', command.slice(1), { stdio: 'inherit' })
if (error) console.error(`could not run ${command[0]}: ${error.message}`)
console.log(counted())
rmSync(reports, { recursive: true, force: true })
process.exit(status ?? 1)

function namespace(): string[] {
  const isRoot = process.getuid?.() === 0
  const unshare = [
    'unshare',
    '--mount',
    '--propagation=private',
    ...(isRoot ? [] : ['--user', '--map-root-user']),
  ]
  const probe = spawnSync(unshare[0] ?? '', [...unshare.slice(1), 'true'], { encoding: 'utf8' })
  if (probe.status === 0) return unshare
  console.error(`${unshare.join(' ')}: ${probe.error?.message ?? probe.stderr.trim()}`)
  console.error(
    'the tests mount tmpfs: run them as root, or allow unprivileged user namespaces (package util-linux)',
  )
  process.exit(2)
}

/** The sums that the runner itself wrote at the end of its report. */
function counted(): string {
  const text = readFileSync(tapFile, { encoding: 'utf8', flag: 'a+' })
  const sums = [...text.matchAll(/^# \{([^}]*)\}/gm)].at(-1)?.[1] ?? ''
  const of = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(sums)?.[1] ?? 0)
  return `${of('pass')} passed, ${of('fail')} failed, ${of('skip') + of('todo')} skipped`
}
