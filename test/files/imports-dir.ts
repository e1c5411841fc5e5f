import { once } from 'node:events'
import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  watch,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import type { ImportSource } from '../../src/core/ports/imports.ts'
import { createDirImports } from '../../src/files/imports-dir.ts'
import { createClock } from '../../src/ops/clock.ts'
import { FakeLog } from '../fakes/log.ts'
import { until } from '../harness/until.ts'

const never = new AbortController().signal
/** The namespace of the import that `settled` writes. */
const BARRIER = 'barrier'

function manifest(name: string, { role = 'web', namespace = 'shop', extra = '' } = {}): string {
  return `apiVersion: deckhouse.io/v1alpha1
kind: SecretsStoreImport
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  role: ${role}
  ${extra}
  files:
  - { name: password, mode: 0400, source: { path: secret/data/app, key: password } }
`
}

/** A followed directory holding these files; `changes` tells every onChange so far. */
async function follow(t: Test, files: Record<string, string>) {
  const path = mkdtempSync(join(tmpdir(), 'imports-'))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text)
  const log = new FakeLog()
  const imports = createDirImports({ path, log, clock: createClock() })
  const changes: string[] = []
  imports.onChange((namespace, name) => {
    if (namespace !== BARRIER) changes.push(`${namespace}/${name}`)
  })
  await imports.start(new AbortController().signal)
  t.teardown(async () => {
    await imports.close()
    rmSync(path, { recursive: true, force: true })
  })
  const faultOf = async (namespace: string, name: string): Promise<FaultError | undefined> => {
    try {
      await imports.get(namespace, name, never)
      return undefined
    } catch (error) {
      if (error instanceof FaultError) return error
      throw error
    }
  }
  return { path, log, imports, changes, faultOf }
}

/** Waits until a file that is written now has been read: what was written before it has been read by then, too. */
async function settled(path: string, imports: Pick<ImportSource, 'get'>): Promise<void> {
  const file = join(path, 'barrier.yaml')
  writeFileSync(file, manifest('barrier', { namespace: BARRIER }))
  await until('the barrier', () => imports.get(BARRIER, 'barrier', never))
  rmSync(file)
}

t.test('imports of all files and documents are there after start', async (t) => {
  const { imports, changes } = await follow(t, {
    'a.yaml': `${manifest('one')}---\n${manifest('two', { role: 'other' })}`,
    'b.yml': manifest('three', { namespace: 'bank' }),
    'c.json': JSON.stringify({
      apiVersion: 'deckhouse.io/v1alpha1',
      kind: 'SecretsStoreImport',
      metadata: { name: 'four', namespace: 'shop' },
      spec: { role: 'web', files: [{ name: 'a', source: { path: 'kv/a', key: 'b' } }] },
    }),
    'ignored.txt': 'nothing',
    '.hidden.yaml': manifest('five'),
  })
  t.equal((await imports.get('shop', 'one', never)).role, 'web')
  t.equal((await imports.get('shop', 'two', never)).role, 'other')
  t.equal(
    (await imports.get('bank', 'three', never)).files[0]?.mode,
    0o400,
    '0400 in YAML is octal, as for kubectl users',
  )
  t.equal((await imports.get('shop', 'four', never)).files[0]?.call.path, 'kv/a')
  t.same(changes.sort(), ['bank/three', 'shop/four', 'shop/one', 'shop/two'])
})

t.test('the List that kubectl get writes is read', async (t) => {
  const item = (name: string) => ({
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { name, namespace: 'shop' },
    spec: { role: 'web', files: [{ name: 'a', source: { path: 'kv/a', key: 'b' } }] },
  })
  const list = {
    apiVersion: 'v1',
    kind: 'List',
    items: [item('one'), item('two')],
    metadata: { resourceVersion: '' },
  }
  const { imports } = await follow(t, { 'list.json': JSON.stringify(list) })
  t.equal((await imports.get('shop', 'two', never)).name, 'two')
})

t.test('an unknown import is answered with those that exist in its namespace', async (t) => {
  const { faultOf } = await follow(t, {
    'a.yaml': `${manifest('two')}---\n${manifest('one')}---\n${manifest('far', { namespace: 'bank' })}`,
  })
  t.match(await faultOf('shop', 'none'), { fault: 'import_not_found', facts: { known: ['one', 'two'] } })
  t.match(await faultOf('void', 'none'), { fault: 'import_not_found', facts: { known: [] } })
})

t.test(
  'an import that was never valid says what is wrong with it, and is named among those that exist',
  async (t) => {
    const { faultOf, log } = await follow(t, {
      'a.yaml': `${manifest('one')}---\n${manifest('bad', { role: 'a/b' })}`,
    })
    const error = await faultOf('shop', 'bad')
    t.equal(error?.fault, 'import_invalid')
    t.match(error?.message, 'spec.role: must match')
    t.match(await faultOf('shop', 'none'), { facts: { known: ['bad', 'one'] } })
    t.match(log.lines, [
      {
        level: 'error',
        message: 'faulty import manifest',
        fields: { file: 'a.yaml', faults: [/^document 2: spec\.role: must match/] },
      },
    ])
  },
)

t.test('a manifest without a namespace is a fault of its file', async (t) => {
  const text = manifest('one').replace(', namespace: shop', '')
  const { log } = await follow(t, { 'a.yaml': text })
  t.match(log.lines, [{ fields: { faults: ['document 1: metadata.namespace: required'] } }])
})

t.test('an edited import changes; a rewritten one that says the same does not', async (t) => {
  const { path, imports, changes } = await follow(t, {
    'a.yaml': `${manifest('one')}---\n${manifest('two')}`,
  })
  changes.length = 0
  writeFileSync(
    join(path, 'a.yaml'),
    `# a comment\n${manifest('one', { role: 'new' })}---\n${manifest('two')}`,
  )
  await until('the change', () => changes.length > 0)
  t.equal((await imports.get('shop', 'one', never)).role, 'new')
  await settled(path, imports)
  t.same(changes, ['shop/one'])
})

t.test('a new file adds, a deleted one takes away', async (t) => {
  const { path, imports, changes, faultOf } = await follow(t, {})
  writeFileSync(join(path, 'a.yaml'), manifest('one'))
  await until('the change', () => changes.length === 1)
  t.equal((await imports.get('shop', 'one', never)).role, 'web')
  rmSync(join(path, 'a.yaml'))
  await until('the change', () => changes.length === 2)
  t.same(changes, ['shop/one', 'shop/one'])
  t.equal((await faultOf('shop', 'one'))?.fault, 'import_not_found')
})

t.test(
  'a manifest that becomes faulty leaves the last good one in force, whichever way it is faulty',
  async (t) => {
    const { path, log, imports, changes } = await follow(t, {
      'a.yaml': `${manifest('one')}---\n${manifest('two')}`,
    })
    changes.length = 0
    for (const text of [
      `${manifest('one', { role: 'a/b' })}---\n${manifest('two')}`,
      `spec: [\n---\n${manifest('two')}`,
      `${manifest('one').replace('name: one, ', '')}---\n${manifest('two')}`,
      '{',
    ]) {
      const lines = log.lines.length
      writeFileSync(join(path, 'a.yaml'), text)
      await until('the log line', () => log.lines.length > lines)
      t.equal((await imports.get('shop', 'one', never)).role, 'web')
      t.equal((await imports.get('shop', 'two', never)).role, 'web')
    }
    t.same(changes, [])
    writeFileSync(join(path, 'a.yaml'), manifest('two', { role: 'new' }))
    await until('the change', () => changes.length === 2)
    t.same(changes.sort(), ['shop/one', 'shop/two'], 'what a good file no longer names is gone')
  },
)

t.test('of two files with one import the first by name wins, and it is logged once', async (t) => {
  const { path, log, imports, changes } = await follow(t, {
    'b.yaml': manifest('one', { role: 'second' }),
    'a.yaml': manifest('one', { role: 'first' }),
  })
  t.equal((await imports.get('shop', 'one', never)).role, 'first')
  t.match(
    log.lines.filter((line) => line.level === 'error'),
    [
      {
        message: 'import named twice, the first stays',
        fields: { importName: 'one', file: 'b.yaml', winner: 'a.yaml' },
      },
    ],
  )
  changes.length = 0
  writeFileSync(join(path, 'c.yaml'), manifest('other'))
  await until('the change', () => changes.length > 0)
  t.equal(log.messages('error').length, 1)
  rmSync(join(path, 'a.yaml'))
  await until('the change', () => changes.length > 1)
  t.equal((await imports.get('shop', 'one', never)).role, 'second')
})

t.test("an editor's save by rename is followed, again and again", async (t) => {
  const { path, imports, changes } = await follow(t, { 'a.yaml': manifest('one') })
  for (const role of ['r1', 'r2', 'r3']) {
    writeFileSync(join(path, '.a.yaml.swp'), manifest('one', { role }))
    renameSync(join(path, '.a.yaml.swp'), join(path, 'a.yaml'))
    await until('the new role', async () => (await imports.get('shop', 'one', never)).role === role)
  }
  t.same(changes, Array(4).fill('shop/one'))
})

t.test('a file written in two steps is read when it is whole', async (t) => {
  const { path, log, imports, changes } = await follow(t, { 'a.yaml': manifest('one') })
  changes.length = 0
  const text = manifest('one', { role: 'new' })
  const watcher = watch(path)
  t.teardown(() => watcher.close())
  truncateSync(join(path, 'a.yaml'))
  await once(watcher, 'change')
  writeFileSync(join(path, 'a.yaml'), text.slice(0, 60))
  await once(watcher, 'change')
  writeFileSync(join(path, 'a.yaml'), text)
  await until('the change', () => changes.length > 0)
  await settled(path, imports)
  t.same(changes, ['shop/one'])
  t.equal((await imports.get('shop', 'one', never)).role, 'new')
  t.same(log.messages('error'), [])
})

t.test("a ConfigMap's directory is followed through the swap of its ..data link", async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'imports-'))
  const swapIn = (generation: string, role: string) => {
    mkdirSync(join(path, `..${generation}`))
    writeFileSync(join(path, `..${generation}`, 'a.yaml'), manifest('one', { role }))
    symlinkSync(`..${generation}`, join(path, '..data_tmp'))
    renameSync(join(path, '..data_tmp'), join(path, '..data'))
  }
  swapIn('g0', 'r0')
  symlinkSync('..data/a.yaml', join(path, 'a.yaml'))
  const log = new FakeLog()
  const imports = createDirImports({ path, log, clock: createClock() })
  t.teardown(async () => {
    await imports.close()
    rmSync(path, { recursive: true })
  })
  await imports.start(new AbortController().signal)
  t.equal((await imports.get('shop', 'one', never)).role, 'r0')
  for (const [old, now] of [
    ['g0', 'g1'],
    ['g1', 'g2'],
    ['g2', 'g3'],
  ] as const) {
    swapIn(now, `r-${now}`)
    await until('the new role', async () => (await imports.get('shop', 'one', never)).role === `r-${now}`)
    rmSync(join(path, `..${old}`), { recursive: true })
  }
  await settled(path, imports)
  t.equal((await imports.get('shop', 'one', never)).role, 'r-g3')
  t.same(log.messages('error'), [])
})

for (const [what, below] of [
  ['a link', ''],
  ['a path through a link', 'imports'],
] as const) {
  t.test(`${what} that comes to lead to another directory is followed there`, async (t) => {
    const { path } = await follow(t, {})
    for (const revision of ['one', 'two', 'three']) {
      mkdirSync(join(path, revision, below), { recursive: true })
      writeFileSync(join(path, revision, below, 'a.yaml'), manifest('backend', { role: revision }))
    }
    const link = join(path, 'link')
    const pointTo = (revision: string) => {
      symlinkSync(revision, `${link}-new`)
      renameSync(`${link}-new`, link)
    }
    pointTo('one')
    const log = new FakeLog()
    const imports = createDirImports({ path: join(link, below), log, clock: createClock() })
    await imports.start(new AbortController().signal)
    t.teardown(() => imports.close())
    const role = async () => (await imports.get('shop', 'backend', never)).role
    t.equal(await role(), 'one')
    for (const revision of ['two', 'three']) {
      pointTo(revision)
      await until('the new role', async () => (await role()) === revision)
    }
    writeFileSync(join(path, 'three', below, 'a.yaml'), manifest('backend', { role: 'edited' }))
    await until('the new role', async () => (await role()) === 'edited')
    rmSync(link)
    writeFileSync(join(path, 'three', below, 'b.yaml'), manifest('other'))
    await until('the fault', () => log.messages('error').length > 0)
    t.equal(await role(), 'edited', 'a link that leads nowhere for a while takes no import away')
    pointTo('one')
    await until('the new role', async () => (await role()) === 'one')
    t.pass('followed')
  })
}

t.test('a directory that is missing at start is reported by name', async (t) => {
  const path = join(tmpdir(), 'imports-that-do-not-exist')
  const imports = createDirImports({ path, log: new FakeLog(), clock: createClock() })
  await t.rejects(imports.start(new AbortController().signal), {
    fault: 'imports_unavailable',
    message: new RegExp(`${path}: ENOENT`),
  })
  await imports.close()
})

t.test(
  'a directory that goes later leaves its imports in force, and is followed when it is back',
  async (t) => {
    const { path, log, imports } = await follow(t, { 'a.yaml': manifest('one') })
    renameSync(path, `${path}-away`)
    t.teardown(() => rmSync(`${path}-away`, { recursive: true, force: true }))
    await until('the log line', () => log.messages('error').length > 0)
    t.equal((await imports.get('shop', 'one', never)).role, 'web')
    mkdirSync(path)
    writeFileSync(join(path, 'a.yaml'), manifest('one', { role: 'back' }))
    await until('the new role', async () => (await imports.get('shop', 'one', never)).role === 'back')
    await settled(path, imports)
    for (const role of ['edited', 'again']) {
      writeFileSync(join(path, 'a.yaml'), manifest('one', { role }))
      await until('the new role', async () => (await imports.get('shop', 'one', never)).role === role)
    }
  },
)

t.test('a start that is called off ends with the reason given', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'imports-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  const imports = createDirImports({ path, log: new FakeLog(), clock: createClock() })
  const stop = new AbortController()
  stop.abort(new Error('enough'))
  await t.rejects(imports.start(stop.signal), { message: 'enough' })
  await imports.close()
})

t.test('a Secret that lies there by mistake is refused without a word of its content', async (t) => {
  const secret =
    'apiVersion: v1\nkind: Secret\nmetadata: { name: a, namespace: shop }\nstringData: { password: canary }\n'
  const { log } = await follow(t, { 'a.yaml': secret, 'b.yaml': `${secret}broken: [canary\n` })
  t.equal(log.messages('error').length, 2)
  t.notMatch(log.text, 'canary')
})
