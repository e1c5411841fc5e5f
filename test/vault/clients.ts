import t, { type Test } from 'tap'
import type { VaultEndpoint } from '../../src/core/ports/vault.ts'
import { createClients } from '../../src/vault/clients.ts'
import type { NodeVault } from '../../src/vault/node-vault.ts'
import { FakeClock } from '../fakes/clock.ts'
import { startFakeVault } from '../fakes/fake-vault.ts'

const MINUTE = 60_000

async function bench(t: Test) {
  const vault = await startFakeVault(() => ({ body: { data: {} } }))
  const clock = new FakeClock()
  const clients = createClients({ clock, callTimeoutMs: 15_000, maxBodyBytes: 1_000, maxSockets: 16 })
  t.teardown(() => {
    clients.close()
    return vault.close()
  })
  const endpoint = (more: Partial<VaultEndpoint> = {}): VaultEndpoint => ({
    ...{ address: vault.address, namespace: '', caCert: undefined, skipTLSVerify: false },
    ...{ tlsServerName: undefined },
    ...more,
  })
  const get = (client: NodeVault) => client.request({ path: '/kv1/app', method: 'GET' })
  /** A call through a client of its own for each `name`. */
  const call = (name: string, opener = 'shop', task = get) =>
    clients.use({ endpoint: endpoint({ tlsServerName: name }), ca: undefined, opener }, task)
  const connections = () => new Set(vault.requests.map(({ port }) => port)).size
  return { vault, clock, clients, endpoint, get, call, connections }
}

t.test('an endpoint has one client for all callers, for as long as it is used', async (t) => {
  const { clock, clients, call, connections } = await bench(t)
  await call('a', 'one')
  await call('a', 'other')
  t.equal(connections(), 1)
  await clock.advance(4 * MINUTE)
  await call('a')
  await clock.advance(4 * MINUTE)
  t.equal(clients.size, 1)
  await clock.advance(8 * MINUTE)
  t.equal(clients.size, 0)
  t.equal(clock.waiting, 0)
})

t.test('of many endpoints the ones used last are kept', async (t) => {
  const { clients, call, connections, vault } = await bench(t)
  for (let i = 0; i < 100; i++) await call(`name-${i}`, `team-${i % 20}`)
  t.equal(clients.size, 64)
  const before = connections()
  vault.requests.length = 0
  await call('name-99')
  await call('name-36')
  t.equal(connections(), 2)
  t.ok(before <= 100)
})

t.test('who names endpoint after endpoint loses its own, not those of others', async (t) => {
  const { clients, call, vault } = await bench(t)
  await call('good', 'victim')
  const [first] = vault.requests
  for (let i = 0; i < 200; i++) await call(`name-${i}`, 'attacker')
  t.equal(clients.size, 17)
  await call('good', 'victim')
  t.equal(vault.requests.at(-1)?.port, first?.port, 'on the connection of before')
})

t.test('a client that is given up closes when its last call has ended', async (t) => {
  const { clients, call } = await bench(t)
  let end = () => {}
  const long = call('long', 'attacker', async (client) => {
    await new Promise<void>((resolve) => {
      end = resolve
    })
    return client.request({ path: '/kv1/app', method: 'GET' })
  })
  for (let i = 0; i < 30; i++) await call(`name-${i}`, 'attacker')
  t.equal(clients.size, 16)
  end()
  t.equal((await long).status, 200)
})

t.test('authorities are distinguished by content, and text that is not PEM has none', async (t) => {
  const { clients, endpoint } = await bench(t)
  const https = endpoint({ address: 'https://127.0.0.1:1' })
  const use = (ca: string) =>
    clients.use({ endpoint: https, ca, opener: 'shop' }, async () => undefined).catch(() => undefined)
  // Two texts that are equal, not the same.
  for (const ca of ['# one', ['#', 'one'].join(' '), '# other']) await use(ca)
  t.equal(clients.size, 2)
})
