import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import t from 'tap'
import { FaultError } from '../../../src/core/faults/fault.ts'
import { readCall } from '../../../src/core/imports/calls.ts'
import {
  type DataFromSpec,
  type FileSpec,
  type ImportSpec,
  parseImport,
} from '../../../src/core/imports/import.ts'
import { isJsonObject, parseJson } from '../../../src/core/json/json.ts'
import { toValues } from '../../../src/core/json/value.ts'
import type { SecretData } from '../../../src/core/ports/vault.ts'
import type { Answers } from '../../../src/core/render/answers.ts'
import { renderFiles } from '../../../src/core/render/render.ts'

function file(changes: Partial<FileSpec> = {}): FileSpec {
  return {
    name: 'f',
    call: readCall('secret/data/app'),
    key: 'k',
    template: undefined,
    named: [],
    sourceNames: [],
    encoding: 'utf-8',
    mode: undefined,
    optional: false,
    ...changes,
  }
}

function spec(files: FileSpec[], changes: Partial<ImportSpec> = {}): ImportSpec {
  return {
    name: 'web',
    namespace: 'shop',
    authMethod: 'kubernetes',
    appRole: undefined,
    role: 'web',
    authPath: undefined,
    vaultNamespace: undefined,
    address: undefined,
    caCert: undefined,
    caCertRef: undefined,
    tlsServerName: undefined,
    skipTLSVerify: false,
    audience: undefined,
    refreshIntervalMs: undefined,
    updateMode: 'Live',
    missingPolicy: 'Fail',
    defaultMode: undefined,
    files,
    dataFrom: [],
    credentials: [],
    secretSync: [],
    ...changes,
  }
}

/** Answers to every call by its key. */
function answers(of: (key: string) => SecretData | FaultError): Answers {
  return { of, vaultAddr: 'https://vault.example.org:8200', authority: undefined }
}

function secret(json: string): SecretData {
  const value = parseJson(json)
  return { values: toValues(isJsonObject(value) ? value : {}), version: 1 }
}

/** Content of one file with key `k` if Vault's data is `json`. */
function contentOf(json: string, changes: Partial<FileSpec> = {}): string | undefined {
  return renderFiles(
    spec([file(changes)]),
    answers(() => secret(json)),
    undefined,
  )[0]
    ?.content.reveal()
    .toString('latin1')
}

function faultOf(run: () => unknown): FaultError {
  try {
    run()
  } catch (error) {
    if (error instanceof FaultError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

t.test('a string is written as its raw bytes', async (t) => {
  t.equal(contentOf('{"k":"pass\\nword"}'), 'pass\nword')
  t.equal(contentOf('{"k":""}'), '')
  t.equal(contentOf('{"k":"é"}'), Buffer.from('é').toString('latin1'))
})

t.test('other values are written as compact JSON with literal numbers', async (t) => {
  for (const [json, content] of [
    ['{"k":9007199254740993}', '9007199254740993'],
    ['{"k":1.10}', '1.10'],
    ['{"k":true}', 'true'],
    ['{"k":{"a": [1, 2.50, "x", null]}}', '{"a":[1,2.50,"x",null]}'],
    ['{"k":[]}', '[]'],
  ] as const) {
    t.equal(contentOf(json), content)
  }
})

t.test('base64 is decoded with or without padding and line breaks', async (t) => {
  for (const text of ['aGVsbG8=', 'aGVsbG8', 'aGVs\\nbG8=\\n', ' aGVs bG8 ']) {
    t.equal(contentOf(`{"k":"${text}"}`, { encoding: 'base64' }), 'hello')
  }
  t.equal(contentOf('{"k":"//+/"}', { encoding: 'base64' }), '\xff\xff\xbf')
})

t.test('hex is decoded in both cases', async (t) => {
  t.equal(contentOf('{"k":"00fFAb10\\n"}', { encoding: 'hex' }), '\x00\xff\xab\x10')
})

t.test('every byte string survives its encoding', async (t) => {
  for (let length = 0; length < 200; length++) {
    const bytes = randomBytes(length)
    for (const encoding of ['base64', 'hex'] as const) {
      const read = contentOf(JSON.stringify({ k: bytes.toString(encoding) }), { encoding })
      if (read !== bytes.toString('latin1')) t.fail(`${length} bytes of ${encoding}`)
    }
  }
  t.equal(contentOf(JSON.stringify({ k: 'A'.repeat(8_000_000) }), { encoding: 'base64' })?.length, 6_000_000)
})

t.test(
  'a value that does not decode is a fault that names the file and reveals nothing of the value',
  async (t) => {
    for (const [encoding, value] of [
      ['base64', '"canary*"'],
      ['base64', '"canary-_"'],
      ['base64', '"canar"'],
      ['base64', '"canary="'],
      ['base64', '"can=ary="'],
      ['base64', '{"canary":1}'],
      ['base64', '12345678'],
      ['hex', '"canary"'],
      ['hex', '"abc"'],
      ['hex', 'true'],
    ] as const) {
      const error = faultOf(() => contentOf(`{"k":${value}}`, { encoding, name: 'tls.key' }))
      t.equal(error.fault, 'decode_failed', value)
      t.match(error.message, `file "tls.key" is not valid ${encoding}`)
      t.notMatch(inspect(error, { depth: 9, showHidden: true }).replace(/\n\s+at .*/g, ''), /canar/)
    }
  },
)

t.test('a missing key is reported with path, key, file and the available keys', async (t) => {
  const error = faultOf(() => contentOf('{"user":"a","pass":"b"}', { key: 'password' }))
  t.equal(error.fault, 'key_missing')
  t.match(error.message, '"secret/data/app" has no key "password"; there exist "user", "pass"')
  t.match(error.message, 'file "f"')
})

t.test('a key whose value is null counts as missing and says so', async (t) => {
  const error = faultOf(() => contentOf('{"k":null}'))
  t.equal(error.fault, 'key_missing')
  t.match(error.message, 'its value is null')
})

t.test('a key named like an object member is missing', async (t) => {
  t.equal(faultOf(() => contentOf('{"a":"b"}', { key: 'constructor' })).fault, 'key_missing')
})

t.test('an absent value is omitted if the import allows it', async (t) => {
  const absent = [
    () => new FaultError('path_not_found', { path: 'secret/data/app' }),
    () => new FaultError('version_deleted', { path: 'secret/data/app' }),
    () => secret('{"other":"x"}'),
    () => secret('{"k":null}'),
  ]
  for (const answer of absent) {
    t.same(renderFiles(spec([file()], { missingPolicy: 'Ignore' }), answers(answer), undefined), [])
    t.same(renderFiles(spec([file({ optional: true })]), answers(answer), undefined), [])
    faultOf(() => renderFiles(spec([file()]), answers(answer), undefined))
  }
})

t.test('a denied or failed read never counts as absent', async (t) => {
  for (const fault of [
    'read_denied',
    'kv2_path',
    'login_denied',
    'unreachable',
    'sealed',
    'vault_error',
  ] as const) {
    const lenient = spec([file({ optional: true })], { missingPolicy: 'Ignore' })
    const error = faultOf(() =>
      renderFiles(
        lenient,
        answers(() => new FaultError(fault)),
        undefined,
      ),
    )
    t.equal(error.fault, fault)
  }
  const broken = () => contentOf('{"k":"*"}', { optional: true, encoding: 'base64' })
  t.equal(faultOf(broken).fault, 'decode_failed')
})

t.test('absent optional files do not affect the others', async (t) => {
  const files = [
    file({ name: 'a' }),
    file({ name: 'b', key: 'gone', optional: true }),
    file({ name: 'c', call: readCall('p') }),
  ]
  const rendered = renderFiles(
    spec(files),
    answers((path) => secret(`{"k":"from ${path}"}`)),
    undefined,
  )
  t.same(
    rendered.map(({ name, content }) => [name, content.reveal().toString()]),
    [
      ['a', 'from secret/data/app'],
      ['c', 'from p'],
    ],
  )
})

t.test('the first faulty file in order is reported', async (t) => {
  const files = [
    file({ name: 'a' }),
    file({ name: 'b', key: 'gone' }),
    file({ name: 'c', call: readCall('denied') }),
  ]
  const answer = (path: string) =>
    path === 'denied' ? new FaultError('read_denied', { path }) : secret('{"k":"v"}')
  t.match(
    faultOf(() => renderFiles(spec(files), answers(answer), undefined)),
    { fault: 'key_missing', facts: { file: 'b' } },
  )
})

t.test("mode: the file's, else the import's, else 0644, or 0640 for an fsGroup", async (t) => {
  const modeOf = (mode: number | undefined, defaultMode: number | undefined, fsGroup: number | undefined) =>
    renderFiles(
      spec([file({ mode })], { defaultMode }),
      answers(() => secret('{"k":"v"}')),
      fsGroup,
    )[0]?.mode
  t.equal(modeOf(0o400, 0o600, 2000), 0o400)
  t.equal(modeOf(0, 0o600, 2000), 0)
  t.equal(modeOf(undefined, 0o600, 2000), 0o600)
  t.equal(modeOf(undefined, undefined, 2000), 0o640)
  t.equal(modeOf(undefined, undefined, 0), 0o640)
  t.equal(modeOf(undefined, undefined, undefined), 0o644)
})

t.test('a template sees its source and the sources that it names', async (t) => {
  const files = [
    file({
      name: 'dsn',
      key: undefined,
      template: '{{ user }}:{{ web.user }}:{{ old.user }}',
      named: [
        { name: 'web', call: readCall('pki') },
        { name: 'old', call: readCall('secret/data/app', 2) },
      ],
    }),
  ]
  const [rendered] = renderFiles(
    spec(files),
    answers((key) => secret(`{"user":"of ${key}"}`)),
    undefined,
  )
  t.equal(rendered?.content.reveal().toString(), 'of secret/data/app:of pki:of secret/data/app?version=2')
})

t.test(
  'a template fails with the fault of any source that it uses, and is omitted if the source is absent',
  async (t) => {
    const absent = new FaultError('path_not_found', { path: 'pki' })
    const made = (changes: Partial<FileSpec>) =>
      spec([
        file({
          key: undefined,
          template: '{{ k }}{{ web.k }}',
          named: [{ name: 'web', call: readCall('pki') }],
          ...changes,
        }),
      ])
    const of = answers((key) => (key === 'pki' ? absent : secret('{"k":"v"}')))
    t.match(
      faultOf(() => renderFiles(made({}), of, undefined)),
      { fault: 'path_not_found', facts: { file: 'f' } },
    )
    t.same(renderFiles(made({ optional: true }), of, undefined), [])
    const unknown = made({ template: '{{ gone }}', named: [], sourceNames: ['web'], optional: true })
    t.match(
      faultOf(() => renderFiles(unknown, of, undefined)),
      { fault: 'template_failed', facts: { known: ['k', 'data', 'web'] } },
      'and this is no absence; sources that it does not name are known too',
    )
  },
)

t.test('files of all kinds are in the order of the import, with their modes', async (t) => {
  const all = parseImport({
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      role: 'web',
      defaultMode: 0o440,
      files: [{ name: 'one', source: { path: 'a', key: 'k' }, mode: 0o400 }],
      dataFrom: [
        { path: 'b', prefix: 'b-' },
        { path: 'c', format: 'JSON', fileName: 'c.json' },
      ],
      credentials: [{ format: 'CABundle', name: 'ca', mode: 0o444 }],
    },
  })
  if ('faults' in all) throw new Error(all.faults.join())
  const given = { ...answers((key) => secret(`{"k":"${key}","l":1.0}`)), authority: 'PEM' }
  t.strictSame(
    renderFiles(all.spec, given, undefined).map(({ name, content, mode }) => [
      name,
      content.reveal().toString(),
      mode,
    ]),
    [
      ['one', 'a', 0o400],
      ['b-k', 'b', 0o440],
      ['b-l', '1.0', 0o440],
      ['c.json', '{"k":"c","l":1.0}', 0o440],
      ['ca', 'PEM', 0o444],
    ],
  )
})

t.test('two files with the same name are refused, whatever their source', async (t) => {
  const entry: DataFromSpec = {
    call: readCall('b'),
    prefix: '',
    include: undefined,
    exclude: undefined,
    format: 'Files',
    fileName: undefined,
  }
  const given = answers(() => secret('{"f":"canary","k":"canary"}'))
  for (const [files, dataFrom, reason] of [
    [[file()], [entry], 'one of spec.files, one of "b"'],
    [[], [entry, { ...entry, call: readCall('c') }], 'one of "b", one of "c"'],
  ] as const) {
    const error = faultOf(() => renderFiles(spec([...files], { dataFrom }), given, undefined))
    t.match(error, { fault: 'name_taken', facts: { file: 'f', reason } })
    t.notMatch(error.message, /canary/)
  }
})

t.test('an absent path of dataFrom makes no file if the import allows it, else it is a fault', async (t) => {
  const dataFrom: DataFromSpec[] = [
    {
      call: readCall('b'),
      prefix: '',
      include: undefined,
      exclude: undefined,
      format: 'JSON',
      fileName: 'j',
    },
  ]
  const gone = answers(() => new FaultError('path_not_found', { path: 'b' }))
  t.same(renderFiles(spec([], { dataFrom, missingPolicy: 'Ignore' }), gone, undefined), [])
  t.equal(faultOf(() => renderFiles(spec([], { dataFrom }), gone, undefined)).fault, 'path_not_found')
  const denied = answers(() => new FaultError('read_denied', { path: 'b' }))
  const lenient = spec([], { dataFrom, missingPolicy: 'Ignore' })
  t.equal(faultOf(() => renderFiles(lenient, denied, undefined)).fault, 'read_denied')
})
