// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of Bank-Vaults contain them
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { readReference } from '../../../src/commands/convert/bank-vaults-environment.ts'
import { createTemplates } from '../../../src/core/render/template.ts'
import { templateScope } from '../../../src/core/render/template-scope.ts'
import { convertText } from '../../harness/commands/convert-bench.ts'

const GET = { method: 'GET', data: undefined, version: undefined }

t.test('references are parsed as the webhook parses them', async (t) => {
  const read: [value: string, reference: object][] = [
    ['plain', { kind: 'none' }],
    ['https://vault:8200/ui', { kind: 'none' }],
    ['vault:login', { kind: 'login' }],
    ['vault:secret/data/a#KEY', { parts: [{ call: { path: 'secret/data/a', ...GET }, keys: ['KEY'] }] }],
    ['vault:secret/data/a/#KEY', { parts: [{ call: { path: 'secret/data/a' } }] }],
    ['vault:secret/data/a#KEY#2', { parts: [{ call: { version: 2 } }] }],
    [
      '>>vault:gen/password#value',
      { parts: [{ call: { method: 'PUT', data: undefined }, keys: ['value'] }] },
    ],
    [
      '>>vault:transit/decrypt/k#${.plaintext | b64dec}#{"ciphertext":"vault:v1:/D#="}',
      {
        parts: [
          {
            call: { method: 'PUT', data: { ciphertext: 'vault:v1:/D#=' } },
            keys: ['plaintext'],
            filters: ['base64_decode'],
          },
        ],
      },
    ],
    [
      'redis://${vault:a/creds/r#user}:${vault:a/creds/r#pass}@h',
      {
        parts: [{ text: 'redis://' }, { keys: ['user'] }, { text: ':' }, { keys: ['pass'] }, { text: '@h' }],
      },
    ],
  ]
  for (const [value, reference] of read) t.match(readReference(value), reference, value)
})

t.test('a reference that cannot be converted is a fault with the reason', async (t) => {
  for (const [value, fault] of [
    ['vault:secret/data/a', /names no key/],
    ['vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w==', /Transit/],
    ['vault:secret/data/a#KEY#latest', /version/],
    ['>>vault:a/b#c#{no', /not JSON/],
    ['>>vault:a/b#c#[1]', /not a JSON object/],
    ['vault:secret/data/a#${upper .a | sha}', /cannot translate/],
    ['vault:secret/data/../a#b', /characters/],
  ] as const) {
    t.match(readReference(value), { kind: 'fault', fault }, value)
  }
})

type Container = { command: string[]; args?: string[]; env?: object[] }

t.test('the wrapped command passes each variable to the program exactly as it is in Vault', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'convert-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const nasty = `it's "$HOME" \`id\` \\ {{ x }}\n* ; exit 1 # ü`
  const { output } = convertText(`
kind: Pod
metadata: {name: app}
spec:
  containers:
  - name: app
    command: [sh, -c, 'printf "%s|%s|%s" "$A" "$B" "$1"', x]
    args: ["an 'arg' $A"]
    env:
    - {name: A, value: "vault:secret/data/a#value"}
    - {name: B, value: "it's ${'${vault:secret/data/a#value}'} {{ and }} $(more)"}
`)
  const [imported, pod] = parseAllDocuments(output).map((document) => document.toJS())
  const { template } = imported.spec.files[0]
  const file = join(folder, 'app.env')
  writeFileSync(
    file,
    createTemplates().render('app.env', template, templateScope(new Map([['value', nasty]]), new Map())),
  )
  const { command, args = [], env }: Container = pod.spec.containers[0]
  t.equal(env, undefined)
  const [program = '', ...words] = [...command, ...args].map((word) =>
    word.replace('/mnt/secrets/app.env', file),
  )
  const seen = execFileSync(program, words, { encoding: 'utf8' })
  t.equal(seen, `${nasty}|it's ${nasty} {{ and }} $(more)|an 'arg' $A`)
})

t.test('a pod without references, or with mutate: skip, is not converted', async (t) => {
  const pod = (extra: string) => `
kind: Pod
metadata: {name: app, annotations: {${extra}}}
spec: {containers: [{name: app, env: [{name: A, value: "vault:secret/data/a#b"}]}]}
`
  t.match(convertText(pod('vault.security.banzaicloud.io/mutate: skip')), { code: 1, output: '' })
  t.match(convertText(pod('a/b: c').replace('vault:secret/data/a#b', 'c')), { code: 1, output: '' })
  t.match(convertText(pod('a/b: c')), { code: 0, output: /role: default/ })
})
