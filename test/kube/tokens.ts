import t, { type Test } from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import type { Pod } from '../../src/core/ports/pod.ts'
import { createTokenRequests } from '../../src/kube/tokens.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeKubeApi, status } from '../fakes/kube-api.ts'
import { faulty } from '../harness/faulty.ts'
import { until } from '../harness/until.ts'

const never = new AbortController().signal
const pod: Pod = { name: 'app-1', namespace: 'shop', uid: 'uid-1', serviceAccount: 'app' }

async function bench(t: Test) {
  const api = new FakeKubeApi()
  await api.start()
  const clock = new FakeClock()
  const client = api.client(clock)
  t.teardown(async () => {
    client.close()
    await api.stop()
  })
  let issued = 0
  api.instead = () => {
    const expirationTimestamp = new Date(clock.now() + 3_600_000).toISOString()
    return { status: 201, body: { status: { token: `jwt-${++issued}`, expirationTimestamp } } }
  }
  return { api, clock, tokens: createTokenRequests({ client, clock }) }
}

t.test('a token is asked for with the audience and bound to the pod', async (t) => {
  const { api, clock, tokens } = await bench(t)
  const token = await tokens.request(pod, 'vault', never)
  t.equal(token.token.reveal(), 'jwt-1')
  t.equal(token.expiresAt, clock.now() + 3_600_000)
  t.match(api.seen, [
    {
      method: 'POST',
      path: '/api/v1/namespaces/shop/serviceaccounts/app/token',
      body: {
        kind: 'TokenRequest',
        spec: {
          audiences: ['vault'],
          expirationSeconds: 3600,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'app-1', uid: 'uid-1' },
        },
      },
    },
  ])
})

t.test('a token serves for four fifths of its life', async (t) => {
  const { api, clock, tokens } = await bench(t)
  await tokens.request(pod, 'vault', never)
  await clock.advance(2_879_000)
  t.equal((await tokens.request(pod, 'vault', never)).token.reveal(), 'jwt-1')
  await clock.advance(1_000)
  t.equal((await tokens.request(pod, 'vault', never)).token.reveal(), 'jwt-2')
  t.equal(api.seen.length, 2)
})

t.test('another audience, another pod and the same name born again each have their own', async (t) => {
  const { api, tokens } = await bench(t)
  await tokens.request(pod, 'vault', never)
  await tokens.request(pod, 'other', never)
  await tokens.request({ ...pod, name: 'app-2', uid: 'uid-2' }, 'vault', never)
  await tokens.request({ ...pod, uid: 'uid-3' }, 'vault', never)
  t.equal(api.seen.length, 4)
})

t.test('equal requests at the same time are one call', async (t) => {
  const { api, tokens } = await bench(t)
  const all = await Promise.all([1, 2, 3].map(() => tokens.request(pod, 'vault', never)))
  t.same(new Set(all.map((token) => token.token.reveal())), new Set(['jwt-1']))
  t.equal(api.seen.length, 1)
})

t.test('without the right to request tokens the message names it', async (t) => {
  const { api, tokens } = await bench(t)
  api.instead = () => status(403, 'Forbidden', 'User "plugin" cannot create resource "serviceaccounts/token"')
  await t.rejects(
    tokens.request(pod, 'vault', never),
    faulty(
      'token_missing',
      /may not request one itself.*User "plugin" cannot create.*next: grant the plugin create on serviceaccounts\/token, or set spec\.tokenRequests \(audience "vault"\)/,
    ),
  )
})

t.test("for a pod that is gone the fault has the API server's message", async (t) => {
  const { api, tokens } = await bench(t)
  api.instead = () => status(404, 'NotFound', 'pods "app-1" not found')
  await t.rejects(tokens.request(pod, 'vault', never), faulty('token_missing', /pods "app-1" not found/))
})

t.test('an API server that is away or overloaded is worth another try soon', async (t) => {
  const { api, tokens } = await bench(t)
  api.instead = () => ({ ...status(429, 'TooManyRequests'), headers: { 'retry-after': '7' } })
  const error = await tokens.request(pod, 'vault', never).catch((error: unknown) => error)
  t.match(error, { fault: 'token_unavailable', retry: 'soon', facts: { retryAfterMs: 7000 } })
  await api.stop()
  await t.rejects(tokens.request(pod, 'vault', never), faulty('token_unavailable', /ECONNREFUSED/))
  await api.start()
})

t.test('an answer without a token is a fault that does not show it', async (t) => {
  const { api, tokens } = await bench(t)
  api.instead = () => ({ status: 201, body: { status: { token: 'canary', expirationTimestamp: 'soon' } } })
  const error = await tokens.request(pod, 'vault', never).catch((error: unknown) => error)
  t.ok(error instanceof FaultError)
  t.notMatch(JSON.stringify(error) + String(error), /canary/)
})

t.test('a caller that gives up leaves the call to the others', async (t) => {
  const { api, tokens, clock } = await bench(t)
  api.instead = () => 'hang'
  const leaving = new AbortController()
  const first = tokens.request(pod, 'vault', leaving.signal)
  const second = tokens.request(pod, 'vault', never)
  await until('the call', () => api.seen.length === 1)
  leaving.abort(new Error('gone'))
  await t.rejects(first, { message: 'gone' })
  const told = t.rejects(second, faulty('token_unavailable', /no answer within 30 s/))
  await clock.advance(30_000)
  await told
  t.equal(api.seen.length, 1)
})
