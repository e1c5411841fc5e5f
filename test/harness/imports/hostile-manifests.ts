import { importManifest } from '../cluster/manifests.ts'
import { badFeatures } from './bad-features.ts'
import { badImports } from './bad-imports.ts'
import { goodFeatures } from './good-features.ts'

type Tree = { [name: string]: unknown }
type Random = () => number

/** Names that every plain object of JavaScript answers to. */
export const prototypeNames = [
  'constructor',
  'toString',
  'valueOf',
  'hasOwnProperty',
  '__proto__',
  '__defineGetter__',
  'isPrototypeOf',
  'prototype',
]

/** One import that uses every list, so that a mutation finds each field. */
export function richManifest(): Tree {
  const synced = { name: 'tls', type: 'Opaque', data: [{ key: 'a', file: 'first' }] }
  return {
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { name: 'app', namespace: 'team', labels: { a: 'b' }, managedFields: [{ manager: 'x' }] },
    spec: {
      role: 'app',
      authMethod: 'approle',
      authPath: 'main',
      appRole: { roleId: 'id', secretIdRef: { name: 'secret', key: 'id' } },
      namespace: 'ns',
      address: 'https://vault.example.org',
      caCertRef: { kind: 'ConfigMap', name: 'ca', key: 'ca.crt' },
      audience: 'vault',
      refreshInterval: '1m',
      updateMode: 'Live',
      missingPolicy: 'Fail',
      defaultMode: '0400',
      sources: [
        {
          name: 'web',
          path: 'pki/issue/web',
          method: 'PUT',
          data: { a: { b: [1] } },
          lease: { renewAt: 50 },
        },
        { name: 'kv', path: 'secret/data/kv', version: 2 },
      ],
      files: [
        { name: 'first', source: { path: 'secret/data/app', key: 'a' }, encoding: 'hex', mode: 256 },
        { name: 'second', source: { ref: 'web', key: 'b' }, decodeBase64: true, optional: true },
      ],
      dataFrom: [{ path: 'secret/data/all', include: '^a', exclude: 'b$', format: 'JSON', fileName: 'all' }],
      credentials: [{ format: 'SecretID', name: 'id', role: 'other', authPath: 'approle', mode: 256 }],
      secretSync: [{ ...synced, deletionPolicy: 'Delete' }],
    },
  }
}

/** Manifests as JSON texts to start from: all that tests of the CRD know, good and bad, and the rich one. */
const starts: readonly string[] = [
  ...Array.from({ length: 40 }, () => JSON.stringify(richManifest())),
  ...[...goodFeatures, ...badFeatures, ...badImports].map(([, change]) =>
    JSON.stringify(importManifest(change)),
  ),
]

/** A hostile manifest; the same for the same numbers. */
export function hostileManifest(random: Random): unknown {
  let manifest: unknown = JSON.parse(pick(random, starts))
  const count = 1 + Math.floor(random() ** 2 * 4)
  for (let made = 0; made < count; made++) manifest = mutate(random, manifest)
  return manifest
}

/** Changes one place, which each step down reaches at random. */
function mutate(random: Random, root: unknown): unknown {
  const holder: Tree = { root }
  let place: Tree = holder
  let key = 'root'
  for (;;) {
    const inner = place[key]
    if (!isOpen(inner) || random() < 0.12) break
    const keys = Object.keys(inner)
    if (keys.length === 0) break
    place = inner
    key = pick(random, keys)
  }
  pick(random, mutations)(place, key, random)
  return holder.root
}

type Mutation = (place: Tree, key: string, random: Random) => void

const set =
  (make: (random: Random, before: unknown) => unknown): Mutation =>
  (place, key, random) =>
    define(place, key, make(random, place[key]))

const mutations: readonly Mutation[] = [
  set((random) => pick(random, strange)()),
  set((random) => pick(random, strange)()),
  set((random) => pick(random, prototypeNames)),
  set((random) => pick(random, prototypeNames)),
  set((random) => pick(random, texts)),
  set((random) => pick(random, texts)),
  set((_random, before) => [before]),
  set((random) => pick(random, rarely(random) ? hugeTexts : texts)),
  set((random, before) => nested(rarely(random) ? 20_000 : 1 + Math.floor(random() * 80), before, random)),
  set((random, before) => Array.from({ length: rarely(random) ? 60_000 : wide(random) }, () => before)),
  set((random) => manyFields(rarely(random) ? 30_000 : wide(random))),
  (place, key) => {
    if (Array.isArray(place)) place.splice(Number(key), 1)
    else delete place[key]
  },
  (place, _key, random) => define(place, pick(random, prototypeNames), pick(random, strange)()),
  (place, key, random) => define(place, pick(random, prototypeNames), place[key]),
  (place, _key, random) => define(place, pick(random, texts), pick(random, texts)),
  (place, key, random) => {
    const keys = Object.keys(place)
    const other = pick(random, keys)
    const before = place[key]
    define(place, key, place[other])
    define(place, other, before)
  },
  // Itself: what holds a thing and what is held are one.
  (place, key, random) => {
    if (rarely(random)) define(place, key, place)
  },
]

/** As JSON.parse does it: an assignment to __proto__ would be another thing, and a list has no names. */
function define(place: Tree, key: string, value: unknown): void {
  if (Array.isArray(place) && !Object.hasOwn(place, key)) return void place.push(value)
  Object.defineProperty(place, key, { value, writable: true, enumerable: true, configurable: true })
}

/** One in 60: what takes long to make. */
function rarely(random: Random): boolean {
  return random() < 1 / 60
}

function wide(random: Random): number {
  return Math.floor(random() ** 4 * 700)
}

function nested(depth: number, inner: unknown, random: Random): unknown {
  const isList = random() < 0.5
  let value = inner
  for (let level = 0; level < depth; level++) value = isList ? [value] : { data: value }
  return value
}

function manyFields(count: number): Tree {
  return Object.fromEntries(Array.from({ length: count }, (_, at) => [`field${at}`, at]))
}

/** New each time: mutations change the values in place. */
const strange: readonly (() => unknown)[] = [
  ...[null, undefined, true, 0, -0, -1, 0.1, 1e308, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, ''].map(
    (value) => () => value,
  ),
  () => [],
  () => ({}),
  () => [[]],
  () => [null],
  () => Object.create(null),
  // What YAML's tags make.
  () => new Date(0),
  () => new Uint8Array(1 << 16),
  () => new Set(['a']),
  () => new Map([['a', 1]]),
]

const texts: readonly string[] = [
  '\0',
  '\n',
  ' ',
  '\ud800',
  '\udc00a',
  '\u202e',
  '😀'.repeat(20),
  'ÄÖÜ',
  'ﬀ',
  '../..',
  '..data',
  '//',
  'auth/token/lookup-self',
  'sys/seal',
  '9'.repeat(400),
  '%2e%2e',
  '{{ a }}',
  '{% for a in (1..1000000) %}x{% endfor %}',
  '{{ a | b | c',
  '(a+)+$',
  '(',
  '[z-a]',
  'kubernetes.io/tls',
  'kubernetes.io/service-account-token',
  'approle',
  'GET',
  'SecretID',
  '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----',
  '-----BEGIN A-----'.repeat(50),
  'https://a:b@c',
  'http://[::1',
  'eyJ'.repeat(100),
]

const hugeTexts: readonly string[] = [
  'a',
  '9',
  '{',
  '${',
  '-----BEGIN A-----',
  '/',
  '.',
  'a.',
  '\n',
  '😀',
  '(',
  '1s',
]
  .flatMap((text) => [60_000, 250_000, 1_000_000, 2_000_000].map((length) => [text, length] as const))
  .map(([text, length]) => text.repeat(Math.floor(length / text.length)))

/** Not what YAML's tags make. */
function isOpen(value: unknown): value is Tree {
  if (typeof value !== 'object' || value === null) return false
  return Array.isArray(value) || [Object.prototype, null].includes(Object.getPrototypeOf(value))
}

function pick<Item>(random: Random, items: readonly Item[]): Item {
  return items[Math.floor(random() * items.length)] as Item
}
