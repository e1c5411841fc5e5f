import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { issueRequestFor, sourceCall } from '../../src/core/imports/calls.ts'
import { parseJson } from '../../src/core/json/json.ts'
import { jsonOf, toValues, type Value } from '../../src/core/json/value.ts'
import type { Lease } from '../../src/core/ports/leases.ts'
import type { Identity } from '../../src/core/ports/vault.ts'
import { SecretText } from '../../src/core/secret.ts'
import { createLeaseStore, createRootAttribute } from '../../src/volume/lease-store.ts'
import { createMounter } from '../../src/volume/mount.ts'
import { createVolumeFiles } from '../../src/volume/volume-files.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeNode } from '../fakes/node.ts'
import { attributesRefused, mayMount, mountedVolume } from '../harness/volume/tmpfs.ts'
import { owner, readByPath, rendered, temporaryDirectory } from '../harness/volume/volume.ts'

const CANARY = 'canary-0123456789'
const TARGET = '/pods/1/mount'
const mounts = mayMount() ? false : 'mounting needs root or a user namespace'
const attributes = attributesRefused() ?? false

const identity: Identity = {
  key: 'kubernetes|a|volume-1',
  endpoint: {
    address: 'https://vault.example.org',
    namespace: '',
    caCert: undefined,
    skipTLSVerify: false,
    tlsServerName: undefined,
  },
  method: 'kubernetes',
  authMount: 'kubernetes',
  role: 'backend',
  roleId: undefined,
  audience: '',
  podNamespace: 'shop',
  serviceAccount: 'backend',
}

const certificate: Lease = {
  id: 'one',
  request: issueRequestFor(
    sourceCall({
      name: 'web',
      path: 'pki/issue/web',
      method: 'PUT',
      version: undefined,
      data: { common_name: 'web.example.org', ttl: 3600, more: { 2: [true, null, 0.5] } },
      lease: { renewAt: 50, revokeOnUnmount: false },
    }),
  ),
  identity,
  token: {
    token: new SecretText(`hvs.${CANARY}`),
    accessor: 'accessor',
    leasedAt: 1_700_000_000_000,
    durationMs: Number.POSITIVE_INFINITY,
    renewable: false,
    isBatch: true,
  },
  data: {
    values: new Map<string, Value>([
      ...toValues({
        zulu: parseJson('{"a":9007199254740993,"b":[1.10,1e2,-0,null],"__proto__":"own"}'),
        private_key: `-----BEGIN\n${CANARY}\n"ü\u0000`,
        serial: parseJson('90071992547409931234'),
        nothing: null,
      }),
      ['2', 'numbers are not sorted to the front'],
    ]),
    version: undefined,
  },
  vaultLease: undefined,
  expiresAt: 1_700_000_900_000,
  issuedAt: 1_700_000_000_500,
  state: 'active',
}

const database: Lease = {
  ...certificate,
  id: 'two',
  request: {
    key: 'id',
    renewAt: 66,
    revokeOnUnmount: true,
    kind: 'secret-id',
    role: 'app',
    authPath: 'approle',
    isWrapped: true,
  },
  identity: {
    ...identity,
    method: 'approle',
    roleId: 'role-id',
    endpoint: { ...identity.endpoint, caCert: 'PEM', tlsServerName: 'vault' },
  },
  token: undefined,
  data: {
    values: new Map<string, Value>([['password', CANARY]]),
    version: 7,
    lease: { id: 'read', leasedAt: 1, durationMs: 2, renewable: true },
  },
  vaultLease: { id: `database/creds/app/${CANARY}`, leasedAt: 5, durationMs: 60_000, renewable: true },
  expiresAt: undefined,
  state: 'revoking',
}

const token: Lease = {
  ...database,
  id: 'three',
  request: { key: 't', renewAt: 1, revokeOnUnmount: true, kind: 'token' },
}

/** A lease store over attributes in memory, and their sealed bytes. */
function inMemory() {
  const node = new FakeNode()
  node.mounts.set(TARGET, new Map()).set('/other', new Map())
  return { leaseStore: node.leaseStore, sealed: node.leaseStore.sealed }
}

t.test('leases come back as they were put', async (t) => {
  const { leaseStore } = inMemory()
  const key = leaseStore.newKey()
  t.ok(leaseStore.put(TARGET, key, [certificate, database, token]))
  const [first, second, third] = leaseStore.get(TARGET, key) ?? []
  t.equal(first?.token?.token.reveal(), `hvs.${CANARY}`)
  t.strictSame(plain(first), plain(certificate))
  t.strictSame(plain(second), plain(database))
  t.strictSame(plain(third), plain(token))
  t.equal(first?.token?.durationMs, Number.POSITIVE_INFINITY)
  t.ok(first && 'vaultLease' in first && first.vaultLease === undefined)
  t.strictSame([...(first?.data.values.keys() ?? [])], [...certificate.data.values.keys()])
  t.equal(jsonOf(first?.data.values.get('serial') ?? ''), '90071992547409931234')
  t.match(jsonOf(first?.data.values.get('zulu') ?? ''), '{"a":9007199254740993,"b":[1.10,1e2,-0,null],')
})

t.test('a put replaces all leases of the volume', async (t) => {
  const { leaseStore } = inMemory()
  const key = leaseStore.newKey()
  leaseStore.put(TARGET, key, [certificate, database])
  leaseStore.put(TARGET, key, [database])
  t.strictSame(
    leaseStore.get(TARGET, key)?.map(({ id }) => id),
    ['two'],
  )
  leaseStore.put(TARGET, key, [])
  t.strictSame(leaseStore.get(TARGET, key), [])
})

t.test('another key, another target and changed bytes open nothing', async (t) => {
  const { leaseStore, sealed } = inMemory()
  const key = leaseStore.newKey()
  t.not(leaseStore.newKey(), key)
  t.equal(leaseStore.get(TARGET, key), undefined, 'nothing was put')
  leaseStore.put(TARGET, key, [database])
  const bytes = sealed.get(TARGET) ?? Buffer.alloc(0)
  t.equal(leaseStore.get(TARGET, leaseStore.newKey()), undefined)
  for (const wrong of ['', 'no key', `${key}AAAA`]) t.equal(leaseStore.get(TARGET, wrong), undefined)
  sealed.set('/other', bytes)
  t.equal(leaseStore.get('/other', key), undefined, 'bound to its target')
  for (const size of [0, 1, 12, 27, 28, bytes.length - 1]) {
    sealed.set(TARGET, bytes.subarray(0, size))
    t.equal(leaseStore.get(TARGET, key), undefined, `cut off after ${size} bytes`)
  }
  for (const at of [0, 12, 28, bytes.length - 1]) {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] ?? 0) ^ 1
    sealed.set(TARGET, changed)
    t.equal(leaseStore.get(TARGET, key), undefined, `byte ${at} changed`)
  }
  sealed.set(TARGET, bytes)
  t.equal(leaseStore.get(TARGET, key)?.length, 1)
})

t.test('neither the attribute nor the key reveals a secret, and no nonce is used twice', async (t) => {
  const { leaseStore, sealed } = inMemory()
  const key = leaseStore.newKey()
  t.equal(Buffer.from(key, 'base64url').length, 32)
  leaseStore.put(TARGET, key, [certificate, database])
  const bytes = sealed.get(TARGET) ?? Buffer.alloc(0)
  for (const text of [CANARY, 'backend', 'vault.example.org', key]) t.notOk(bytes.includes(text), text)
  leaseStore.put(TARGET, key, [certificate, database])
  const again = sealed.get(TARGET) ?? Buffer.alloc(0)
  t.equal(again.length, bytes.length)
  t.not(again.subarray(0, 12).toString('hex'), bytes.subarray(0, 12).toString('hex'), 'a fresh nonce')
})

t.test('where the attribute is refused nothing is kept', async (t) => {
  const { leaseStore } = inMemory()
  const key = leaseStore.newKey()
  leaseStore.put(TARGET, key, [database])
  leaseStore.isRefused = true
  t.notOk(leaseStore.put(TARGET, key, [certificate]))
  t.equal(leaseStore.get(TARGET, key), undefined, 'nor the leases stored before')
})

t.test('a text that is not a list of leases is not read', async (t) => {
  const { leaseStore } = inMemory()
  const key = leaseStore.newKey()
  t.ok(leaseStore.put(TARGET, key, [{ ...database, state: 'lost' } as unknown as Lease]))
  t.equal(leaseStore.get(TARGET, key), undefined)
})

t.test('a directory outside a tmpfs, or a missing one, keeps nothing', async (t) => {
  const leaseStore = createLeaseStore()
  const key = leaseStore.newKey()
  for (const path of ['/proc/self', join(temporaryDirectory(t), 'none')]) {
    t.notOk(leaseStore.put(path, key, [database]))
    t.equal(leaseStore.get(path, key), undefined)
  }
})

t.test('on a mount of ours the attribute is invisible and goes with it', { skip: attributes }, async (t) => {
  const target = mountedVolume(t)
  const key = createLeaseStore().newKey()
  t.equal(createLeaseStore().get(target, key), undefined)
  t.ok(createLeaseStore().put(target, key, [certificate, database]))
  t.strictSame(readdirSync(target), [])
  t.strictSame(
    plain(createLeaseStore().get(target, key)),
    plain([certificate, database]),
    'for the next process too',
  )
  const mounter = createMounter()
  mounter.unmount(target)
  mounter.mount(target, { sizeBytes: 4096, gid: undefined })
  t.equal(createLeaseStore().get(target, key), undefined)
})

t.test('a process in a user namespace sees nothing and sets nothing', { skip: attributes }, async (t) => {
  const target = mountedVolume(t)
  const leaseStore = createLeaseStore()
  const key = leaseStore.newKey()
  leaseStore.put(target, key, [database])
  const [module, source] = [import.meta.resolve('../../src/volume/lease-store.ts'), JSON.stringify(target)]
  const answer = execFileSync(
    'unshare',
    [
      '--user',
      '--map-root-user',
      process.execPath,
      '--input-type=module',
      '--eval',
      `import { createRootAttribute } from '${module}'
       const attribute = createRootAttribute()
       const words = (call) => { try { return String(call()) } catch (error) { return error.message } }
       console.log(words(() => attribute.get(${source})), words(() => attribute.set(${source}, Buffer.of(1))))`,
    ],
    { encoding: 'utf8' },
  )
  t.equal(answer, 'undefined EPERM at fsetxattr(2)\n')
  t.strictSame(plain(leaseStore.get(target, key)), plain([database]))
})

t.test(
  'a user namespace of our own is refused the attribute',
  { skip: mounts || (!attributes && 'trusted attributes are allowed here') },
  async (t) => {
    const target = mountedVolume(t)
    const leaseStore = createLeaseStore()
    const key = leaseStore.newKey()
    t.notOk(leaseStore.put(target, key, [database]))
    t.equal(leaseStore.get(target, key), undefined)
  },
)

t.test(
  'leases larger than an attribute are not kept, nor those stored before',
  { skip: attributes },
  async (t) => {
    const target = mountedVolume(t)
    const leaseStore = createLeaseStore()
    const key = leaseStore.newKey()
    const sized = (size: number): Lease => ({
      ...database,
      data: { values: new Map([['password', 'x'.repeat(size)]]), version: undefined },
    })
    t.ok(leaseStore.put(target, key, [sized(60_000)]))
    t.notOk(leaseStore.put(target, key, [sized(66_000)]))
    t.equal(leaseStore.get(target, key), undefined)
    t.equal(createRootAttribute().get(target), undefined)
    t.ok(leaseStore.put(target, key, [sized(10)]))
  },
)

t.test('the volume files and the attribute do not affect each other', { skip: attributes }, async (t) => {
  const target = mountedVolume(t)
  const leaseStore = createLeaseStore()
  const key = leaseStore.newKey()
  const files = createVolumeFiles({ clock: new FakeClock(), graceMs: 0 })
  const shape = { updateMode: 'Atomic', gid: owner.gid, sizeBytes: 4 << 20 } as const
  await files.apply(target, shape, rendered({ password: 'one' }))
  t.ok(leaseStore.put(target, key, [database]))
  const later = await files.apply(target, shape, rendered({ password: 'one' }))
  t.strictSame(later.changed, [])
  await files.apply(target, shape, rendered({ password: 'two' }))
  t.ok(await files.repair(target, shape))
  t.strictSame(readByPath(target), { password: 'two' })
  t.equal(leaseStore.get(target, key)?.length, 1)
  files.wipe(target)
  t.strictSame(readdirSync(target), [])
  t.equal(
    leaseStore.get(target, key)?.length,
    1,
    'kept until the unmount: a killed unpublish goes on with it',
  )
})

/** With secrets revealed, and numbers as written. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, member) =>
      member instanceof Map ? [...member] : member === undefined ? 'undefined' : member,
    ),
  )
}
