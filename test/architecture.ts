import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import t from 'tap'

const src = resolve(import.meta.dirname, '../src')

/**
 * Which rooms of src a room may import from. Arrows point one way: core ← node ← grpc ← commands ← main. Adapters know
 * core alone, and never each other.
 */
const allowed: Record<string, readonly string[]> = {
  core: [],
  node: ['core'],
  grpc: ['node', 'core'],
  vault: ['core'],
  volume: ['core'],
  kube: ['core'],
  files: ['core'],
  ops: ['core'],
  sandbox: ['core'],
  // Each a program of its own, and the place where its parts are put together.
  commands: ['core', 'node', 'grpc', 'vault', 'volume', 'kube', 'files', 'ops', 'sandbox'],
  // Reads manifests of other systems and writes ours: text in, text out.
  'commands/convert': ['core'],
  // Asks the API server, then Vault, then judges both.
  'commands/doctor': ['core', 'vault', 'kube', 'files', 'sandbox'],
}

/** What core may use from outside: nothing that does I/O. node:module loads liquidjs when the first template is met. */
const corePackages = new Set([
  'zod',
  'yaml',
  'liquidjs',
  'node:crypto',
  'node:util',
  'node:path',
  'node:module',
])

/** Files are written there, calls are sent, or a secret goes to where it is kept. */
const revealing = [
  'kube/client.ts',
  'kube/http1.ts',
  'kube/http2.ts',
  'kube/secret-content.ts',
  'sandbox/tasks.ts',
  'vault/connections.ts',
  'vault/issuer.ts',
  'vault/login.ts',
  'vault/read.ts',
  'volume/file.ts',
  'volume/serialize-leases.ts',
]

/** Their tests wait for events, with harness/until.ts for other processes, or move the fake clock. */
const unitTestRooms = [
  'core',
  'node',
  'vault',
  'kube',
  'files',
  'volume',
  'grpc',
  'ops',
  'sandbox',
  'commands',
  'docs',
]

/** Probes a server as kubelet does, a few times a second, while a thread attacks it. Faster probes are refused. */
const pacedTest = 'ops/connection-limit.ts'

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
/** From file to what it imports: of the project by path below src, of others by name. */
const imports = new Map(files.map((file) => [file, importsOf(file)]))

t.test('imports point one way', async (t) => {
  t.ok(files.length > 20)
  for (const [file, imported] of imports) {
    const room = roomOf(file)
    const permitted = allowed[room]
    if (room === '.') continue
    if (permitted === undefined) t.fail(`${file}: its room is not named in this test`)
    for (const target of imported.filter((name) => imports.has(name))) {
      const isAllowed = roomOf(target) === room || permitted?.includes(roomOf(target))
      if (!isAllowed) t.fail(`${file} imports ${target}`)
    }
  }
})

t.test('there is no cycle, of types neither', async (t) => {
  t.strictSame(cycles(), [])
})

t.test('core does no input or output', async (t) => {
  for (const [file, imported] of imports) {
    if (roomOf(file) !== 'core') continue
    for (const name of imported) {
      if (!imports.has(name)) t.ok(corePackages.has(name), `${file} imports ${name}`)
    }
  }
})

t.test('secrets are revealed in named files and nowhere else', async (t) => {
  const found = files.filter((file) => /\.reveal\(\)/.test(readFileSync(join(src, file), 'utf8')))
  t.strictSame(found.sort(), revealing)
})

t.test('no unit test sleeps', async (t) => {
  const tests = unitTestRooms.flatMap((room) =>
    readdirSync(join(import.meta.dirname, room), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => join(room, file)),
  )
  t.ok(tests.length > 50)
  for (const file of tests) {
    if (file === pacedTest) continue
    const text = readFileSync(join(import.meta.dirname, file), 'utf8')
    if (/from 'node:timers(\/promises)?'|\bsetTimeout\(/.test(text)) t.fail(`${file} waits for real time`)
  }
})

/** `commands/doctor` is a room within one; main.ts has none. */
function roomOf(file: string): string {
  const folders = dirname(file).split('/')
  const inner = folders.slice(0, 2).join('/')
  return inner in allowed ? inner : (folders[0] ?? '')
}

/** Static, dynamic, re-exported, type-only; with `import(…)` within types. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8')
  const found = text.matchAll(
    /^(?:import|export)\s[^'"]*?from\s+'([^']+)'|^import\s+'([^']+)'|\bimport\(\s*'([^']+)'/gm,
  )
  return [...found].map((match) => {
    const name = match[1] ?? match[2] ?? match[3] ?? ''
    return name.startsWith('.') ? relative(src, resolve(src, dirname(file), name)) : name
  })
}

/** Each set of files that reach each other (Tarjan's strongly connected components). */
function cycles(): string[][] {
  const found: string[][] = []
  const index = new Map<string, number>()
  const lowest = new Map<string, number>()
  const path: string[] = []
  const visit = (file: string): number => {
    const own = index.size
    index.set(file, own)
    lowest.set(file, own)
    path.push(file)
    for (const next of imports.get(file) ?? []) {
      if (!imports.has(next)) continue
      const reached = index.has(next) ? (path.includes(next) ? index.get(next) : own) : visit(next)
      lowest.set(file, Math.min(lowest.get(file) ?? own, reached ?? own))
    }
    if (lowest.get(file) === own) {
      const members = path.splice(path.indexOf(file))
      if (members.length > 1) found.push(members.sort())
    }
    return lowest.get(file) ?? own
  }
  for (const file of files) if (!index.has(file)) visit(file)
  return found
}
