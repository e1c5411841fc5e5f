import t from 'tap'
import { FaultError } from '../../../src/core/faults/fault.ts'
import { type ParsedImport, parseImport } from '../../../src/core/imports/import.ts'
import { needsOf } from '../../../src/core/imports/needs.ts'
import { checkPolicy } from '../../../src/core/imports/policy.ts'
import { hostileManifest, prototypeNames, richManifest } from '../../harness/imports/hostile-manifests.ts'
import { settings } from '../../harness/node-bench.ts'
import { seeded } from '../../harness/random.ts'

const MANIFESTS = 100_000
/** Milliseconds of CPU of the validating thread: the delay for others in this process. */
const LONGEST = 100

t.test(`${MANIFESTS} mutated manifests never throw, and none takes long to validate`, async (t) => {
  const random = seeded(9)
  const counts = { spec: 0, faults: 0 }
  let slowest = { at: -1, ms: 0 }
  for (let at = 0; at < MANIFESTS; at++) {
    const manifest = hostileManifest(random)
    const { parsed, ms } = judge(manifest)
    if (ms > slowest.ms) slowest = { at, ms }
    const wrong = whatIsWrongWith(parsed)
    if (wrong !== undefined) t.fail(`manifest ${at}: ${wrong}`)
    counts['spec' in parsed ? 'spec' : 'faults']++
  }
  t.ok(slowest.ms < LONGEST, `the slowest is manifest ${slowest.at} with ${slowest.ms.toFixed(1)} ms of CPU`)
  t.ok(
    counts.spec > MANIFESTS / 50,
    `${counts.spec} are accepted: mutations reach what lies behind the schema`,
  )
  t.ok(counts.faults > MANIFESTS / 2, `${counts.faults} are faulty`)
})

function judge(manifest: unknown): { parsed: ParsedImport; ms: number } {
  const before = process.threadCpuUsage()
  const parsed = parseImport(manifest)
  const { user, system } = process.threadCpuUsage(before)
  return { parsed, ms: (user + system) / 1000 }
}

/** Further processing of a parsed import, and its visible results. */
function whatIsWrongWith(parsed: ParsedImport): string | undefined {
  if ('faults' in parsed) return faultyFaults(parsed.faults)
  try {
    needsOf(parsed.spec, () => false)
    checkPolicy(parsed.spec, settings())
  } catch (error) {
    if (!(error instanceof FaultError)) return String(error)
  }
  return undefined
}

function faultyFaults(faults: readonly string[]): string | undefined {
  if (faults.length === 0) return 'neither import nor fault'
  if (faults.length > 51) return `${faults.length} faults`
  const bad = faults.find((fault) => fault.length > 500 || !fault.isWellFormed())
  // This fault comes from the outer guard, which no known input may need.
  return bad ?? faults.find((fault) => fault.includes('could not be judged'))
}

/** The rich manifest with a change to its spec. */
function faultsOf(change: Record<string, unknown>): { faults: readonly string[]; ms: number } {
  const { spec, ...rest } = richManifest()
  const { parsed, ms } = judge({ ...rest, spec: { ...(spec as object), ...change } })
  return { faults: 'faults' in parsed ? parsed.faults : [], ms }
}

t.test('names of JavaScript object members are ordinary names', async (t) => {
  for (const name of prototypeNames) {
    const secretSync = [{ name: 'app', type: name, data: [{ key: name, file: 'first' }] }]
    t.same(faultsOf({ secretSync }).faults, [], `type and key ${name}`)
    const sources = [{ name, path: name }]
    const files = [{ name, source: { ref: name, key: name } }]
    t.same(faultsOf({ sources, files, secretSync: [] }).faults, [], `source and file ${name}`)
    const unknown = JSON.parse(`{"${name}": {"${name}": 1}}`)
    t.match(faultsOf(unknown).faults, [new RegExp(`^spec.${name}: unknown field`)], `field ${name}`)
  }
})

const nest = (depth: number) => {
  let value: unknown = 1
  for (let level = 0; level < depth; level++) value = { a: value }
  return value
}
const many = (count: number, make: (at: number) => unknown) =>
  Array.from({ length: count }, (_, at) => make(at))
const source = { name: 'web', path: 'pki/issue/web', method: 'PUT' }
const key = { path: 'secret/data/app', key: 'a' }

const attacks: [string, () => Record<string, unknown>, RegExp][] = [
  ['deep data', () => ({ sources: [{ ...source, data: nest(5_000) }] }), /at most 64 levels/],
  ['very deep data', () => ({ sources: [{ ...source, data: nest(200_000) }] }), /at most 64 levels/],
  [
    'wide data',
    () => ({ sources: [{ ...source, data: { a: many(90_000, () => 1) } }] }),
    /at most 50000 values/,
  ],
  [
    'large data',
    () => ({ sources: [{ ...source, data: { a: 'x'.repeat(1_200_000) } }] }),
    /characters as JSON/,
  ],
  [
    'many files',
    () => ({ files: many(513, (at) => ({ name: `f${at}`, source: key })) }),
    /files: .* 512 items/,
  ],
  [
    'many sources',
    () => ({ sources: many(65, (at) => ({ ...source, name: `s${at}` })) }),
    /at most 64 items/,
  ],
  [
    'many keys',
    () => ({ secretSync: [{ name: 'a', data: many(257, (at) => ({ key: `k${at}`, file: 'f' })) }] }),
    /secretSync\[0\]\.data: must have at most 256 items/,
  ],
  [
    'fields without number',
    () => Object.fromEntries(many(40_000, (at) => [`f${at}`, 1]) as [string, unknown][]),
    /at most 256 fields/,
  ],
  [
    'unknown fields',
    () => Object.fromEntries(many(230, (at) => [`refreshIntervall${at}`, 1]) as [string, unknown][]),
    /unknown field/,
  ],
  [
    'unknown fields of long names',
    () => Object.fromEntries(many(15, (at) => [`${at}${'r'.repeat(60_000)}`, 1]) as [string, unknown][]),
    /unknown field/,
  ],
  [
    'files that refer to nothing',
    () => ({
      sources: many(64, (at) => ({ ...source, name: `${'n'.repeat(60)}${at}` })),
      files: many(512, (at) => ({ name: `f${at}`, source: { ref: 'z'.repeat(1_500), key: 'a' } })),
    }),
    /source.ref/,
  ],
  [
    'Secrets of files that are not there',
    () => ({
      dataFrom: [],
      files: many(512, (at) => ({ name: `f${at}`, source: key })),
      secretSync: many(16, (at) => ({
        name: `s${at}`,
        data: many(256, (one) => ({ key: `k${one}`, file: `g${one}` })),
      })),
    }),
    /not among the files/,
  ],
  [
    'PEM of beginnings',
    () => ({ caCertRef: undefined, caCert: '-----BEGIN A-----'.repeat(11_000) }),
    /caCert/,
  ],
  [
    'PEM of many labels',
    () => ({ caCertRef: undefined, caCert: many(10_000, (at) => `-----BEGIN ${at}-----\n`).join('') }),
    /caCert/,
  ],
  [
    'a long pattern',
    () => ({ dataFrom: [{ path: 'a', include: '('.repeat(300_000) }] }),
    /at most 256 characters/,
  ],
  ['a long duration', () => ({ refreshInterval: '1.'.repeat(300_000) }), /at most 32 characters/],
  ['a long address', () => ({ address: `https://${'a.'.repeat(400_000)}` }), /at most 2048 characters/],
  [
    'a long name of a Secret',
    () => ({ secretSync: [{ name: 'a-'.repeat(400_000), data: [] }] }),
    /253 characters/,
  ],
  [
    'a path of slashes',
    () => ({ files: [{ name: 'a', source: { ...key, path: '/'.repeat(900_000) } }] }),
    /1024/,
  ],
  ['a file mode of digits', () => ({ defaultMode: '0'.repeat(900_000) }), /octal/],
]

for (const [what, change, fault] of attacks) {
  t.test(`${what}: a short fault, soon`, async (t) => {
    const made = change()
    const { faults, ms } = faultsOf(made)
    t.ok(
      faults.some((one) => fault.test(one)),
      `${faults[0]}`,
    )
    t.equal(faultyFaults(faults), undefined)
    t.ok(ms < LONGEST, `${ms.toFixed(1)} ms of CPU`)
  })
}

t.test('an error in the validation itself is a fault of the import', async (t) => {
  const trap = {
    get: () => {
      throw new TypeError('canary')
    },
  }
  const parsed = parseImport(
    new Proxy({}, { ...trap, getPrototypeOf: () => Object.prototype, ownKeys: trap.get }),
  )
  t.same(parsed, { faults: ['the manifest could not be judged: TypeError'] })
})
