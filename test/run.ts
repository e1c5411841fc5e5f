// Runs the suites: `node test/run.ts [unit|integration|slow|deploy] [FILE...]`. The first two, with coverage enforced,
// when none is named; deploy needs helm.
// Integration tests mount: root gets a mount namespace of its own, an ordinary user one in a user namespace,
// so that nothing can be left mounted on the machine.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { globSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildTap } from './harness/runner/build-tap.ts'
import { showTap } from './harness/runner/tap-output.ts'

const LINES_COVERED_PERCENT = 90

/** Tests that wait for leases to end, break connections for long or repeat for long: a suite of their own. */
const slow = [
  'test/core/imports/fuzz.ts',
  'test/integration/demo.ts',
  'test/integration/plugin-canary-issued.ts',
  'test/integration/plugin-credentials.ts',
  'test/integration/plugin-dynamic.ts',
  'test/integration/plugin-kill.ts',
  'test/integration/plugin-outage.ts',
  'test/integration/plugin-pki.ts',
  'test/integration/plugin-restart.ts',
  'test/integration/plugin-unrevocable.ts',
  'test/integration/vault-fair.ts',
  'test/integration/vault-outage.ts',
  'test/integration/vault-tokens.ts',
  'test/integration/volume-soak.ts',
]

const suites = {
  unit: [
    'test/architecture.ts',
    'test/words.ts',
    ...others('test/{core,node,vault,kube,files,volume,grpc,ops,sandbox,commands,docs}/**/*.ts'),
  ],
  integration: others('test/integration/*.ts'),
  slow,
  deploy: globSync('test/deploy/*.ts'),
}

const [suite, ...only] = process.argv.slice(2)
if (suite !== undefined && !isSuite(suite)) {
  console.error(`unknown suite ${suite}: ${Object.keys(suites).join(', ')}, or none for the first two`)
  process.exit(2)
}

const wanted = suite === undefined ? [...suites.unit, ...suites.integration] : suites[suite]
const files = only.length > 0 ? only : wanted.toSorted()
buildTap()
const coverageFolder = mkdtempSync(join(tmpdir(), 'vault-files-csi-coverage-'))
const tap = ['tap', 'run', '--disable-coverage', '--reporter=tap', '--jobs=2', '--timeout=300', ...files]
const coverage = [
  'c8',
  '--all',
  '--src=src',
  '--include=src/**/*.ts',
  '--extension=.ts',
  '--reporter=text',
  `--temp-directory=${coverageFolder}`,
  '--check-coverage',
  `--lines=${LINES_COVERED_PERCENT}`,
  '--branches=0',
  '--functions=0',
  '--statements=0',
]
const [program = '', ...args] = [...namespace(), ...(suite === undefined ? coverage : []), ...tap]
const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
const ended = once(child, 'close')
const counts = await showTap(child.stdout, commandFor)
const [status] = await ended
rmSync(coverageFolder, { recursive: true, force: true })
console.log(counts)
process.exit(status ?? 1)

function others(pattern: string): string[] {
  return globSync(pattern).filter((file) => !slow.includes(file))
}

function isSuite(name: string): name is keyof typeof suites {
  return Object.hasOwn(suites, name)
}

function commandFor(file: string): string {
  const [own = 'unit'] = Object.entries(suites).find(([, files]) => files.includes(file)) ?? []
  return `npm run test:${own} -- ${file}`
}

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
