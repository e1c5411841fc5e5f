import t from 'tap'
import { jsonOf, type Value } from '../../src/core/json/value.ts'
import { readable, setUpKv, startOpenBaoBench } from '../harness/vault/openbao-bench.ts'
import { testIdentity } from '../harness/vault/vault-bench.ts'

const bench = await startOpenBaoBench(t)
const { admin, bao, read, faultOf, identity, meter } = bench
await setUpKv(admin)

/** As text, for JSON.stringify would round the numbers. */
async function store(path: string, json: string) {
  const headers = { 'X-Vault-Token': bao.rootToken }
  const response = await fetch(`${bao.address}/v1/${path}`, { method: 'POST', headers, body: json })
  if (!response.ok) throw new Error(`${path}: ${response.status}`)
}

const text = (values: ReadonlyMap<string, Value>) =>
  `{${[...values].map(([key, value]) => `${JSON.stringify(key)}:${jsonOf(value)}`)}}`

t.test('KV v2 gives the latest version and its number', async (t) => {
  await store('secret/data/app', '{"data":{"password":"old"}}')
  await store('secret/data/app', '{"data":{"password":"new","port":5432}}')
  const { values, version } = await read('secret/data/app')
  t.equal(text(values), '{"password":"new","port":5432}')
  t.equal(version, 2)
})

t.test('large and precise numbers come as they were stored in KV v1', async (t) => {
  await store('kv1/app', '{"id":9007199254740993,"price":1.10,"nested":{"list":[1,"a",null,true]}}')
  const { values, version } = await read('kv1/app')
  t.match(text(values), '"id":9007199254740993')
  t.match(text(values), '"price":1.10')
  t.match(text(values), '"nested":{"list":[1,"a",null,true]}')
  t.equal(version, undefined)
})

t.test('any other path that answers GET with data can be read', async (t) => {
  await admin.writeReadPolicy('app', [...readable, 'sys/internal/ui/mounts/kv1'])
  const { values } = await read('sys/internal/ui/mounts/kv1')
  t.equal(values.get('type'), 'kv')
})

t.test('the token that reads comes out by no path, not even by one that names a namespace', async (t) => {
  await admin.write('sys/namespaces/office', {})
  const lookups = ['auth/token/lookup-self', 'office/auth/token/lookup-self']
  await admin.writeReadPolicy('app', [...readable, ...lookups])
  for (const path of lookups) {
    const error = await faultOf(t, path)
    t.equal(error.fault, 'policy_refused', path)
    t.match(error.message, /holds the Vault token that asked/)
  }
  for (const namespace of ['auth', 'auth/token']) {
    const endpoint = { ...identity.endpoint, namespace }
    const path = 'auth/token/lookup-self'.slice(namespace.length + 1)
    const error = await faultOf(t, path, { identity: testIdentity(bao.address, { endpoint }) })
    t.match(error.fault, /login_mount|policy_refused/, `namespace ${namespace}`)
  }
})

t.test('a denied path names the policy line that grants it', async (t) => {
  const error = await faultOf(t, 'secret/data/forbidden')
  t.equal(error.fault, 'read_denied')
  t.match(error.message, 'path "secret/data/forbidden" { capabilities = ["read"] }')
  t.match(error.message, bao.address)
  t.match(error.message, 'role "app"')
  t.match(error.message, 'shop/backend')
})

t.test('a path of KV v2 without data/ is corrected, also below a mount of several segments', async (t) => {
  const short = await faultOf(t, 'secret/app')
  t.equal(short.fault, 'kv2_path')
  t.match(short.message, 'use path "secret/data/app"')
  t.match(short.message, /versioned K\/V/, "Vault's own warning")
  const long = await faultOf(t, 'team/a/kv/app')
  t.match(long.message, 'use path "team/a/kv/data/app"')
})

t.test('where nothing is stored, or no engine is mounted, the path is not there', async (t) => {
  for (const path of ['secret/data/none', 'kv1/none', 'nomount/x']) {
    const error = await faultOf(t, path)
    t.equal(error.fault, 'path_not_found')
    t.match(error.message, `nothing is stored at "${path}"`)
  }
})

t.test('a deleted version says which and when', async (t) => {
  await store('secret/data/deleted', '{"data":{"a":"1"}}')
  await store('secret/data/deleted', '{"data":{"a":"2"}}')
  await admin.delete('secret/data/deleted')
  const error = await faultOf(t, 'secret/data/deleted')
  t.equal(error.fault, 'version_deleted')
  t.match(error.message, /version 2 of "secret\/data\/deleted" was deleted at 20\d\d-/)
})

t.test('a destroyed version says so', async (t) => {
  await store('secret/data/destroyed', '{"data":{"a":"1"}}')
  await admin.write('secret/destroy/destroyed', { versions: [1] })
  const error = await faultOf(t, 'secret/data/destroyed')
  t.equal(error.fault, 'version_deleted')
  t.match(error.message, /version 1 of .* was destroyed/)
})

t.test('a version where there are none is refused, and not passed over', async (t) => {
  const error = await faultOf(t, 'kv1/app?version=2')
  t.equal(error.fault, 'call_refused')
  t.match(error.message, /"kv1\/app".*only KV version 2 has versions.*next: leave version out/)
})

t.test('a version of KV v2 by its number', async (t) => {
  await store('secret/data/app', '{"data":{"password":"newest"}}')
  const { values, version } = await read('secret/data/app?version=2')
  t.equal(text(values), '{"password":"new","port":5432}')
  t.equal(version, 2)
  t.equal((await read('secret/data/app')).version, 3)

  t.test('that was deleted or destroyed says which, and names the path as policies do', async (t) => {
    await admin.write('secret/delete/app', { versions: [1] })
    const deleted = await faultOf(t, 'secret/data/app?version=1')
    t.equal(deleted.fault, 'version_deleted')
    t.match(deleted.message, /version 1 of "secret\/data\/app" was deleted at 20\d\d-/)
    await admin.write('secret/destroy/app', { versions: [1] })
    const destroyed = await faultOf(t, 'secret/data/app?version=1')
    t.match(destroyed.message, /version 1 of "secret\/data\/app" was destroyed/)
    t.equal((await read('secret/data/app?version=2')).version, 2, 'the others stand')
  })

  t.test('that never was says so', async (t) => {
    const error = await faultOf(t, 'secret/data/app?version=99')
    t.equal(error.fault, 'path_not_found')
    t.match(error.message, 'nothing is stored at "secret/data/app" as version 99')
  })

  t.test('of a path that is denied or lacks data/', async (t) => {
    const denied = await faultOf(t, 'secret/data/forbidden?version=1')
    t.match(denied.message, 'path "secret/data/forbidden" { capabilities = ["read"] }')
    const short = await faultOf(t, 'secret/app?version=1')
    t.match(short.message, 'use path "secret/data/app"')
    t.notMatch(`${denied.message} ${short.message}`, '?version')
  })
})

t.test('all of this took one login', (t) => {
  t.equal(meter.count('login jwt ok'), 1)
  t.end()
})
