import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import t from 'tap'

const src = resolve(import.meta.dirname, '../src')

/** Which folders of src a folder may import from; app.ts and main.ts put everything together. */
const allowed: Record<string, readonly string[]> = {
  core: ['core'],
  flow: ['flow', 'core'],
  grpc: ['grpc', 'flow', 'core'],
  vault: ['vault', 'core'],
  volume: ['volume', 'core'],
  kube: ['kube', 'core'],
  files: ['files', 'core'],
  ops: ['ops', 'core'],
  sandbox: ['sandbox', 'core'],
  // Reads manifests of other systems and writes ours: text in, text out.
  convert: ['convert', 'core'],
  // A second composition root beside app.ts, for a command that asks the API server, then Vault, then judges both.
  doctor: ['doctor', 'kube', 'vault', 'files', 'sandbox', 'core'],
  // Development only, left out of the build: plays kubelet and operator, hence knows the wire.
  demo: ['demo', 'grpc', 'core'],
}

/**
 * What core may use from outside: nothing that does input or output. node:module loads liquidjs when the first
 * template is met.
 */
const corePackages = new Set([
  'zod',
  'yaml',
  'liquidjs',
  'node:crypto',
  'node:util',
  'node:path',
  'node:module',
])

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))

t.test('imports point one way', async (t) => {
  t.ok(files.length > 20)
  for (const file of files) {
    const folder = dirname(file).split('/')[0] ?? ''
    const permitted = allowed[folder]
    if (permitted === undefined) {
      t.equal(folder, '.', `${file}: folder is named in this test`)
      continue
    }
    for (const imported of importsOf(file)) {
      if (!imported.startsWith('.')) continue
      const target = relative(src, resolve(src, dirname(file), imported))
      t.ok(permitted.includes(target.split('/')[0] ?? ''), `${file} imports ${target}`)
    }
  }
})

t.test('core does no input or output', async (t) => {
  for (const file of files.filter((name) => name.startsWith('core/'))) {
    for (const imported of importsOf(file)) {
      if (!imported.startsWith('.')) t.ok(corePackages.has(imported), `${file} imports ${imported}`)
    }
  }
})

t.test('secrets are revealed only where files are written and requests are made', async (t) => {
  const revealing = files.filter((file) => /\.reveal\(\)/.test(readFileSync(join(src, file), 'utf8')))
  for (const file of revealing)
    t.match(
      file,
      /^(core\/secret|volume\/|vault\/|kube\/(?:exchange|http1|http2)|kube\/secret-content|sandbox\/jobs|demo\/)/,
    )
})

function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8')
  return [...text.matchAll(/^(?:import|export)\s[^'"]*?from\s+'([^']+)'|^import\s+'([^']+)'/gm)].map(
    (match) => match[1] ?? match[2] ?? '',
  )
}
