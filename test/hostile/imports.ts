import { type Attack, runAttacks } from './harness/attack.ts'
import type { Attacker } from './harness/attacker.ts'
import { manifest } from './harness/imports-place.ts'
import { ATTACKER } from './harness/world.ts'

// Imports that are made to break their readers. Nothing but writing one is needed: no pod, no token.

const file = { name: 'file', source: { path: 'attacker1/x', key: 'value' } }
const PROTOTYPE_NAMES = [
  'constructor',
  'toString',
  'valueOf',
  'hasOwnProperty',
  '__proto__',
  '__defineGetter__',
]

/** JSON by hand: an object literal would take `__proto__` for itself. */
const rawSpec = (spec: string) =>
  `{"apiVersion":"deckhouse.io/v1alpha1","kind":"SecretsStoreImport","metadata":{"name":"raw","namespace":"${ATTACKER}"},"spec":${spec}}`

/** The plugin meets what stands there while it runs, and again when it starts. */
async function runAndRestart(attacker: Attacker, seconds = 0.7): Promise<void> {
  await attacker.dwell(seconds)
  await attacker.restart()
}

const standing = (name: string, specs: readonly object[], finding = 1): Attack => ({
  name,
  finding,
  restarts: true,
  async run(attacker) {
    for (const [index, spec] of specs.entries()) await attacker.import(`own-${index}`, spec)
    await runAndRestart(attacker)
    await attacker.attempt({ importName: 'own-0', patienceMs: 300 })
  },
})

const text = (name: string, finding: number, files: Readonly<Record<string, string>>): Attack => ({
  name,
  finding,
  restarts: true,
  async run(attacker) {
    for (const [place, content] of Object.entries(files)) attacker.manifest(place, content)
    await runAndRestart(attacker)
    await attacker.attempt({ importName: 'raw', patienceMs: 300 })
  },
})

const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`
const sourceWith = (data: string) =>
  rawSpec(
    `{"role":"attacker","sources":[{"name":"s","path":"attacker1/x","method":"PUT","data":${data}}],` +
      `"files":[{"name":"file","source":{"ref":"s","key":"value"}}]}`,
  )
const files = (count: number, more: object = {}) =>
  Array.from({ length: count }, (_, index) => ({ ...file, name: `file-${index}`, ...more }))

const attacks: Attack[] = [
  standing(
    'secretSync types with names of Object.prototype',
    PROTOTYPE_NAMES.map((type) => ({
      files: [file],
      secretSync: [{ name: 'synced', type, data: [{ key: 'k', file: 'file' }] }],
    })),
  ),
  standing(
    'files, keys, sources and refs with names of Object.prototype',
    PROTOTYPE_NAMES.map((name) => ({
      sources: [{ name, path: 'attacker1/x' }],
      files: [{ name, source: { ref: name, key: name } }],
      dataFrom: [{ path: name, prefix: name }],
      secretSync: [{ name: 'synced', data: [{ key: name, file: name }] }],
    })),
  ),
  standing('enumerations with names of Object.prototype', [
    { files: [file], updateMode: 'constructor' },
    { files: [file], missingPolicy: '__proto__' },
    { files: [file], authMethod: 'toString' },
    { files: [{ ...file, encoding: 'constructor' }] },
    { dataFrom: [{ path: 'attacker1/x', format: 'constructor', fileName: 'f' }] },
    { credentials: [{ format: 'constructor', name: 'c' }] },
    { files: [file], refreshInterval: 'constructor', defaultMode: '__proto__' },
  ]),
  text('__proto__ and constructor as fields of everything', 1, {
    'attacker-raw.json': rawSpec(
      '{"role":"attacker","__proto__":{"files":1},"constructor":{"prototype":{"demanded":1}},"files":[{"name":"a","__proto__":{"source":1},"source":{"__proto__":{"path":"x"},"path":"attacker1/x","key":"value"}}],"sources":[{"name":"s","path":"p","method":"PUT","data":{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}}]}',
    ),
  }),
  text('data nested 5,000 deep', 1, { 'attacker-raw.json': sourceWith(nested(5_000)) }),
  text('data nested 100,000 deep', 1, { 'attacker-raw.json': sourceWith(nested(100_000)) }),
  text('lists nested 100,000 deep in place of the spec', 1, {
    'attacker-raw.json': rawSpec(`${'['.repeat(100_000)}${']'.repeat(100_000)}`),
  }),
  text('wrong types everywhere', 1, {
    'attacker-raw.json': rawSpec(
      '{"role":[],"files":{"length":1e9},"sources":"s","dataFrom":7,"credentials":[null],"secretSync":[[]]}',
    ),
    'attacker-2.json': '{"apiVersion":{},"kind":"SecretsStoreImport","metadata":null,"spec":null}',
    'attacker-3.json': '[[[[]]]]',
    'attacker-4.json': 'null',
    'attacker-5.yaml': 'metadata: {name: raw, namespace: attacker}\nspec: &a\n  role: *a\n  files: *a\n',
  }),
  text('an alias that grows a thousand million times', 1, { 'attacker-raw.yaml': billionLaughs() }),
  // No YAML beyond this: a directory is the admin's own, and the API server hands out JSON.
  text('a manifest of 1 MB: 9,000 files', 2, {
    'attacker-raw.json': manifest(ATTACKER, 'raw', { role: ATTACKER, files: files(9_000) }),
  }),
  text('9,000 files of one name', 2, {
    'attacker-raw.json': manifest(ATTACKER, 'raw', { role: ATTACKER, files: files(9_000, { name: 'same' }) }),
  }),
  text('9,000 files that each lie in the next one', 2, {
    'attacker-raw.json': manifest(ATTACKER, 'raw', {
      role: ATTACKER,
      files: Array.from({ length: 9_000 }, (_, index) => ({ ...file, name: `a/${index}/b/${index}/c` })),
    }),
  }),
  text('20,000 unknown fields of 40 characters', 2, {
    'attacker-raw.json': manifest(ATTACKER, 'raw', {
      role: ATTACKER,
      files: [file],
      ...Object.fromEntries(
        Array.from({ length: 20_000 }, (_, index) => [`${'filse'.repeat(7)}${index}`, 1]),
      ),
    }),
  }),
  text('3,000 sources and as many refs to none of them', 2, {
    'attacker-raw.json': manifest(ATTACKER, 'raw', {
      role: ATTACKER,
      sources: Array.from({ length: 3_000 }, (_, index) => ({ name: `s-${index}`, path: 'attacker1/x' })),
      files: files(3_000, { source: { ref: 'nobody', key: 'k' } }),
    }),
  }),
  text('names of 300,000 characters before patterns with nested repetitions', 5, {
    'attacker-raw.json': manifest(ATTACKER, 'raw', {
      role: `${'a'.repeat(300_000)}!`,
      files: [file],
      caCertRef: { kind: 'Secret', name: `${'a.'.repeat(100_000)}!`, key: `${'k'.repeat(100_000)}!` },
      secretSync: [
        { name: `${'a'.repeat(150_000)}!`, type: 'a/'.repeat(50_000), data: [{ key: 'k', file: 'file' }] },
      ],
    }),
    'attacker-2.json': manifest(`${'a'.repeat(200_000)}!`, `${'a-'.repeat(100_000)}!`, {
      role: 'r',
      files: [file],
    }),
  }),
  standing(
    'caCert of 190 kB of PEM beginnings',
    [{ caCert: '-----BEGIN A-----'.repeat(11_200), address: 'https://vault:8200', files: [file] }],
    5,
  ),
  standing(
    'caCert of 600 kB: beginnings of certificates, ends of others, private keys',
    [
      { caCert: '-----BEGIN CERTIFICATE-----\n'.repeat(21_000), files: [file] },
      { caCert: '-----BEGIN A-----\n-----END B-----\n'.repeat(17_000), files: [file] },
      { caCert: `-----BEGIN ${'A '.repeat(300_000)}`, files: [file] },
      {
        caCert: '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'.repeat(9_000),
        files: [file],
      },
    ],
    5,
  ),
  {
    name: '400 imports of nine files and a template each',
    finding: 2,
    restarts: true,
    async run(attacker) {
      const template = { source: { path: 'attacker1/x' }, template: '{{ user }}:{{ password }}' }
      for (let index = 0; index < 400; index++) {
        await attacker.import(`one-${index}`, { files: [...files(8), { name: 'dsn', ...template }] })
      }
      await runAndRestart(attacker, 2)
    },
  },
  {
    name: 'an import edited 300 times',
    finding: 2,
    async run(attacker) {
      for (let edit = 0; edit < 300; edit++) {
        await attacker.import('edited', { files: files(100, { mode: edit % 2 === 0 ? '0400' : '0444' }) })
        await attacker.dwell(0.005)
      }
    },
  },
  {
    name: 'volumeAttributes of 1 MB, and with names of Object.prototype',
    finding: 1,
    async run(attacker) {
      await attacker.import('plain', { files: [file] })
      const long = 'a.'.repeat(500_000)
      const protos = Object.fromEntries(PROTOTYPE_NAMES.map((name) => [name, '1']))
      const many = Object.fromEntries(
        Array.from({ length: 20_000 }, (_, index) => [`secretStoreImpotr${index}`, '']),
      )
      for (const attributes of [{ secretsStoreImport: long }, { [long]: 'x' }, protos, many]) {
        await attacker.attempt({ importName: 'plain', attributes, patienceMs: 100 })
      }
      await attacker.attempt({ importName: `../${long}`, patienceMs: 100 })
    },
  },
]

/** Nine levels of ten references each. */
function billionLaughs(): string {
  const levels = Array.from({ length: 9 }, (_, level) => {
    const refs = Array.from({ length: 10 }, () => (level === 0 ? 'lol' : `*l${level - 1}`)).join(',')
    return `l${level}: &l${level} [${refs}]`
  })
  return `${levels.join('\n')}\nmetadata: {name: raw, namespace: attacker}\nspec: {files: *l8}\n`
}

await runAttacks('imports', attacks)
