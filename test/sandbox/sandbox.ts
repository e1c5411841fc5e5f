import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import type { ImportSpec } from '../../src/core/imports/import.ts'
import type { SecretData } from '../../src/core/ports/vault.ts'
import { createClock } from '../../src/ops/clock.ts'
import { startHelper } from '../../src/sandbox/helper.ts'
import { createSandbox } from '../../src/sandbox/sandbox.ts'
import { secretOf } from '../harness/specs.ts'

const patient = new AbortController().signal
const volume = { updateMode: 'Live', gid: undefined, sizeBytes: 4 << 20 } as const
const endless =
  '{% for i in (1..3000) %}{% for j in (1..3000) %}{% for k in (1..3000) %}{% endfor %}{% endfor %}{% endfor %}'

function manifestOf(spec: object, namespace = 'shop') {
  return {
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { name: 'web', namespace },
    spec: { role: 'web', ...spec },
  }
}

const keyed = (name: string, key = 'k') => ({ name, source: { path: 'secret/data/app', key } })
const templated = (name: string, template: string) => ({
  name,
  source: { path: 'secret/data/app' },
  template,
})
const everyKey = (more: object) => ({ dataFrom: [{ path: 'secret/data/app', ...more }] })

function bench(t: Test) {
  let started = 0
  const start = () => {
    started += 1
    return startHelper()
  }
  const sandbox = createSandbox({ clock: createClock(), start })
  t.teardown(() => sandbox.close())
  const judge = async (spec: object, namespace = 'shop'): Promise<ImportSpec> => {
    const parsed = await sandbox.validateImport(manifestOf(spec, namespace), namespace, patient)
    if ('spec' in parsed) return parsed.spec
    throw new Error(parsed.faults.join('\n'))
  }
  const render = async (spec: object, data: SecretData | FaultError, namespace = 'shop') => {
    const answers = { of: () => data, vaultAddr: 'https://vault.test', authority: undefined }
    const files = await sandbox.render(await judge(spec, namespace), answers, volume, patient)
    return files.map(({ name, content, mode }) => [name, content.reveal().toString(), mode])
  }
  return { sandbox, judge, render, started: () => started }
}

t.test('plain work is done on the spot, without a process', async (t) => {
  const { render, judge, started } = bench(t)
  t.same(await render({ files: [keyed('a')] }, secretOf('{"k":"v"}')), [['a', 'v', 0o644]])
  t.same(await render(everyKey({}), secretOf('{"k":1.10}')), [['k', '1.10', 0o644]])
  await t.rejects(judge({ files: [{ name: 'a' }] }), /spec\.files\[0\]\.source: required/)
  t.equal(started(), 0)
})

t.test('what a tenant could make long or large is done in one process beside ours', async (t) => {
  const { render, started } = bench(t)
  const data = secretOf('{"k":"v","n":{"big":9007199254740993,"list":[1.10,null]}}')
  t.same(
    await render({ files: [templated('a', '{{ k }} {{ n.big }} {{ n | json }}'), keyed('b', 'n')] }, data),
    [
      ['a', 'v 9007199254740993 {"big":9007199254740993,"list":[1.10,null]}', 0o644],
      ['b', '{"big":9007199254740993,"list":[1.10,null]}', 0o644],
    ],
  )
  t.same(await render(everyKey({ include: '^k$' }), data), [['k', 'v', 0o644]])
  t.same(await render(everyKey({ format: 'JSON', fileName: 'all' }), secretOf('{"k":"ü"}')), [
    ['all', '{"k":"ü"}', 0o644],
  ])
  const large = 'x'.repeat(300_000)
  t.same(await render({ files: [keyed('a')] }, secretOf(`{"k":"${large}"}`)), [['a', large, 0o644]])
  t.equal(started(), 1)
})

t.test('faults come back as they are, and hold no value', async (t) => {
  const { render } = bench(t)
  const data = secretOf('{"k":"canary"}')
  for (const [spec, answer, fault] of [
    [{ files: [templated('a', '{{ nothing }}')] }, data, 'template_failed'],
    [{ files: [templated('a', '{{ k }}'), keyed('b', 'none')] }, data, 'key_missing'],
    [{ files: [templated('a', '{{ k }}')] }, new FaultError('read_denied', { path: 'p' }), 'read_denied'],
  ] as const) {
    const error = await render(spec, answer).catch((error: unknown) => error)
    t.match(error, { fault })
    t.ok(error instanceof FaultError)
    t.notMatch(inspect(error, { depth: 9, showHidden: true }), /canary/)
  }
  const tolerant = { missingPolicy: 'Ignore', files: [templated('a', '{{ k }}')] }
  t.same(await render(tolerant, new FaultError('path_not_found', {})), [])
})

t.test(
  'an attacker is ended, by name of what took so long, and a victim waits for one job of his',
  async (t) => {
    const { judge, render, sandbox } = bench(t)
    const data = secretOf('{"k":"v"}')
    const answers = { of: () => data, vaultAddr: 'a', authority: undefined }
    const hostile = await judge({ files: [templated('bad', endless)] }, 'attacker')
    const attacks = Array.from({ length: 8 }, () =>
      sandbox.render(hostile, answers, volume, patient).catch((error: unknown) => error),
    )
    let ended = 0
    for (const attack of attacks) attack.then(() => (ended += 1))
    t.same(await render({ files: [templated('good', '{{ k }}')] }, data, 'victim'), [['good', 'v', 0o644]])
    // Two jobs of the victim, judging and rendering: behind the one under way and one more.
    t.ok(ended <= 2, `${ended} of 8 attacks had ended`)
    sandbox.close()
    t.match(await attacks[0], {
      fault: 'import_too_large',
      facts: { endedBy: 'time' },
      message: /more than 250 ms of CPU time, ended at the template of file "bad"/,
    })
  },
)

t.test('patterns, formats and manifests are ended too', async (t) => {
  const { render, sandbox } = bench(t)
  const keys = secretOf(`{"${'a'.repeat(60)}!":"v"}`)
  await t.rejects(render(everyKey({ include: '^(a+)+$' }), keys), {
    facts: { endedBy: 'time' },
    message: /ended at dataFrom of "secret\/data\/app"/,
  })
  let deep: object = {}
  for (let level = 0; level < 5_000; level += 1) deep = { deep }
  const source = { name: 's', path: 'p', method: 'PUT', data: deep }
  const parsed = await sandbox.validateImport(
    manifestOf({ sources: [source], files: [keyed('a')] }),
    'shop',
    patient,
  )
  t.match(parsed, { faults: [/nested too deep/] })
})

t.test('many files of one large value are refused before they are made', async (t) => {
  const { render } = bench(t)
  const data = secretOf(`{"k":"${'x'.repeat(1 << 20)}"}`)
  const before = process.memoryUsage.rss()
  const files = Array.from({ length: 200 }, (_, at) => keyed(`f${at}`))
  await t.rejects(render({ files }, data), {
    fault: 'volume_full',
    facts: { sizeBytes: 6 << 20, limitBytes: 4 << 20 },
    message: /Live keeps two copies, counted up to the file that did not fit/,
  })
  const grownMiB = (process.memoryUsage.rss() - before) / 2 ** 20
  t.ok(grownMiB < 40, `grew by ${Math.round(grownMiB)} MiB`)
  const many = Array.from({ length: 1_025 }, (_, at) => `"k${at}":""`)
  await t.rejects(render(everyKey({}), secretOf(`{${many}}`)), {
    fault: 'import_too_large',
    message: /more than 1024 files/,
  })
})

t.test('a large answer is taken apart elsewhere, exact as ever', async (t) => {
  const { sandbox } = bench(t)
  const parse = (text: string) => sandbox.parseResponse(Buffer.from(text), 'shop', patient)
  const large = 'ü'.repeat(100_000)
  const data = `{"data":{"k":"${large}","n":9007199254740993,"o":{"p":1.10,"z":null},"t":true},"metadata":{"version":3}}`
  const parsed = await parse(`{"lease_id":"","lease_duration":7,"data":${data},"warnings":null}`)
  t.same(
    [...(parsed?.data?.values ?? [])],
    [
      ['k', large],
      ['n', { json: '9007199254740993' }],
      ['o', { json: '{"p":1.10,"z":null}' }],
      ['t', { json: 'true' }],
    ],
  )
  t.equal(parsed?.data?.version, 3)
  t.equal(parsed?.rest, '{"lease_id":"","lease_duration":7,"data":{},"warnings":null}')
  t.equal(await parse('{"data":{'), undefined)
  const keys = Array.from({ length: 5_000 }, (_, at) => `"k${at}":1`)
  await t.rejects(parse(`{"data":{${keys}}}`), { fault: 'import_too_large', message: /5000 keys/ })
})

t.test('who gives up is not kept waiting', async (t) => {
  const { sandbox } = bench(t)
  const abort = new AbortController()
  const judging = sandbox.validateImport(
    manifestOf({ files: [templated('a', '{{ k }}')] }),
    'shop',
    abort.signal,
  )
  const waiting = sandbox.validateImport(
    manifestOf({ files: [templated('a', '{{ k }}')] }),
    'shop',
    abort.signal,
  )
  abort.abort(new Error('the pod is gone'))
  await t.rejects(waiting, { message: 'the pod is gone' })
  await t.rejects(judging, { message: 'the pod is gone' })
})
