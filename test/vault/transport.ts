import { type AddressInfo, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { stringifyJson } from '../../src/core/json/json.ts'
import { createTransport, type TransportSettings } from '../../src/vault/transport.ts'
import { FakeClock } from '../fakes/clock.ts'
import { RESET, startFakeVault } from '../fakes/fake-vault.ts'
import { drainEventLoop } from '../harness/event-loop.ts'
import { until } from '../harness/until.ts'

async function bench(t: Test, more: Partial<TransportSettings> = {}) {
  const vault = await startFakeVault()
  const clock = new FakeClock()
  const transport = createTransport({
    address: vault.address,
    ca: undefined,
    skipVerify: false,
    serverName: undefined,
    maxSockets: 16,
    timeoutMs: 15_000,
    maxBodyBytes: 1_000,
    clock,
    ...more,
  })
  t.teardown(() => {
    transport.close()
    return vault.close()
  })
  const get = (path: string, signal?: AbortSignal) =>
    transport.send({ uri: `${vault.address}/v1/${path}`, method: 'GET', ...(signal ? { signal } : {}) })
  return { vault, clock, transport, get }
}

t.test('numbers keep the text in which Vault sent them', async (t) => {
  const { vault, get } = await bench(t)
  vault.answer(() => ({ body: '{"data":{"big":9007199254740993,"price":1.10}}' }))
  const { body } = await get('kv1/app')
  t.equal(stringifyJson(body ?? null), '{"data":{"big":9007199254740993,"price":1.10}}')
})

t.test('a redirect is not followed, so no token goes to where it points', async (t) => {
  const { vault, transport } = await bench(t)
  const other = await startFakeVault()
  t.teardown(other.close)
  vault.answer(() => ({ status: 307, headers: { Location: `${other.address}/v1/kv1/app` } }))
  const answer = await transport.send({
    uri: `${vault.address}/v1/kv1/app`,
    method: 'GET',
    headers: { 'X-Vault-Token': 's.canary' },
  })
  t.match(answer, { status: 307, location: /kv1/ })
  t.equal(other.requests.length, 0)
})

t.test('a path goes out as it is written, with its dots', async (t) => {
  const { vault, get } = await bench(t)
  await get('secret/data/../x')
  t.equal(vault.requests[0]!.path, 'secret/data/../x')
})

t.test('an abort ends the call with the reason of the signal', async (t) => {
  const { vault, get, clock } = await bench(t)
  const abort = new AbortController()
  vault.answer(() => {
    abort.abort(new Error('the pod is gone'))
    return undefined
  })
  await t.rejects(get('kv1/app', abort.signal), { message: 'the pod is gone' })
  await t.rejects(get('kv1/app', abort.signal), { message: 'the pod is gone' })
  t.equal(vault.requests.length, 1, 'an aborted signal sends nothing')
  t.equal(clock.waiting, 0, 'no timer is left behind')
})

t.test('an abort between head and body of the answer ends the call too', async (t) => {
  const { vault, get } = await bench(t)
  const abort = new AbortController()
  // Promises more bytes than it sends.
  vault.answer(() => ({ headers: { 'Content-Length': '900' }, body: '{"data":' }))
  const call = get('kv1/app', abort.signal)
  await until('the call', () => vault.requests.length === 1)
  await drainEventLoop()
  abort.abort(new Error('enough'))
  await t.rejects(call, { message: 'enough' })
})

t.test('a call that takes too long is given up', async (t) => {
  const { vault, get, clock } = await bench(t)
  vault.answer(() => {
    // The request is in: only the answer is missing.
    setImmediate(() => clock.advance(15_000))
    return undefined
  })
  await t.rejects(get('kv1/app'), { message: 'timeout' })
})

t.test('a larger answer than allowed is not taken in', async (t) => {
  const { vault, get } = await bench(t)
  vault.answer(() => ({ body: { data: { x: 'x'.repeat(2_000) } } }))
  await t.rejects(get('kv1/app'), { message: 'too-large' })
})

t.test('a response that is not JSON is reported without any of its text', async (t) => {
  const { vault, get } = await bench(t)
  vault.answer(() => ({ body: '{"data":{"password":canary-value}}' }))
  const error = await get('kv1/app').catch((error) => error)
  t.match(error, { failure: 'not-json' })
  t.notMatch(`${error.message} ${error.stack} ${JSON.stringify(error)} ${error.cause}`, /canary/)
})

t.test('a large answer is parsed elsewhere, in the turn of the namespace that asked', async (t) => {
  const asked: [number, string][] = []
  const parseAnswer: TransportSettings['parseAnswer'] = async (bytes, namespace) => {
    asked.push([bytes.byteLength, namespace])
    return {
      data: { values: new Map([['x', 'parsed']]), version: 7 },
      rest: '{"data":{},"lease_duration":1.10}',
    }
  }
  const { vault, transport } = await bench(t, { maxBodyBytes: 1 << 20, parseAnswer })
  const get = () =>
    transport.send({ uri: `${vault.address}/v1/kv1/app`, method: 'GET', podNamespace: 'shop' })
  vault.answer(() => ({ body: `{"data":{"x":"${'x'.repeat(200_000)}"}}` }))
  const { body, held } = await get()
  t.same(asked, [[200_017, 'shop']])
  t.same(held, { values: new Map([['x', 'parsed']]), version: 7 })
  t.equal(stringifyJson(body ?? null), '{"data":{},"lease_duration":1.10}')
  vault.answer(() => ({ body: `{"data":{"x":"${'x'.repeat(100_000)}"}}` }))
  t.equal((await get()).held, undefined)
  t.equal(asked.length, 1, 'a small one is not')
})

t.test('without anybody else a large answer is parsed on the spot', async (t) => {
  const { vault, get } = await bench(t, { maxBodyBytes: 1 << 20 })
  const value = 'x'.repeat(200_000)
  vault.answer(() => ({ body: { data: { data: { x: value }, metadata: { version: 3 } } } }))
  t.same((await get('kv1/app')).held, { values: new Map([['x', value]]), version: 3 })
  vault.answer(() => ({ body: `{"data":{"x":"${value}"}` }))
  await t.rejects(get('kv1/app'), { message: 'not-json' })
  vault.answer(() => ({ body: { data: {}, warnings: [value] } }))
  await t.rejects(get('kv1/app'), { message: 'too-large' }, 'nothing but data is that large')
})

t.test("the body of an error is looked at only where it can be Vault's", async (t) => {
  const { vault, get } = await bench(t, { maxBodyBytes: 1 << 20 })
  vault.answer(() => ({ status: 400, body: { errors: ['x'.repeat(60_000)] } }))
  t.match(await get('kv1/app'), { status: 400, body: { errors: [/^x/] } })
  vault.answer(() => ({ status: 400, body: { errors: ['x'.repeat(70_000)] } }))
  t.match(await get('kv1/app'), { status: 400, body: undefined })
})

t.test('an error page of a proxy is an answer with a status and no body', async (t) => {
  const { vault, get } = await bench(t)
  vault.answer(() => ({ status: 502, body: '<html>bad gateway</html>' }))
  t.match(await get('kv1/app'), { status: 502, body: undefined })
})

t.test('calls one after the other share a connection', async (t) => {
  const { vault, get } = await bench(t)
  await get('a')
  await get('b')
  t.equal(new Set(vault.requests.map(({ port }) => port)).size, 1)
})

t.test('a connection that the server closed while idle costs no error', async (t) => {
  const first = await bench(t)
  await first.get('a')
  let isFirst = true
  // Closes the kept connection just when the next request arrives on it, as a server does whose idle time is over.
  first.vault.answer(({ path }) => {
    if (path === 'b' && isFirst) {
      isFirst = false
      return { status: RESET }
    }
    return { status: 204 }
  })
  t.match(await first.get('b'), { status: 204 })
  t.equal(first.vault.count('b'), 2)
})

t.test('requests carry the header that Vault agents ask for', async (t) => {
  const { vault, get } = await bench(t)
  await get('a')
  t.match(vault.requests[0]!.headers, { 'x-vault-request': 'true' })
})

for (const [name, status, headers] of [
  ['sealed', 503, {}],
  ['a standby', 473, {}],
  ['moved', 307, { Location: 'https://other.test/v1/x' }],
] as const) {
  t.test(`after a response that says ${name} the next call opens a new connection`, async (t) => {
    const { vault, get } = await bench(t)
    await get('a')
    vault.answer(() => ({ status, headers }))
    await get('b')
    vault.answer(() => ({ status: 204 }))
    await get('c')
    await get('d')
    const [a, b, c, d] = vault.requests.map(({ port }) => port)
    t.equal(a, b)
    t.not(b, c)
    t.equal(c, d)
  })
}

t.test('no connection is used for longer than five minutes', async (t) => {
  const { vault, get, clock } = await bench(t)
  for (let minute = 0; minute <= 9; minute++) {
    await get(`${minute}`)
    await clock.advance(60_000)
  }
  const ports = vault.requests.map(({ port }) => port)
  t.equal(new Set(ports).size, 2)
  t.not(ports[4], ports[5])
})

t.test('calls under way go on over a connection that is given up', async (t) => {
  const { vault, get } = await bench(t)
  let finish = () => {}
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>()
  vault.answer(({ path }) =>
    path === 'slow'
      ? new Promise((resolve) => {
          arrive()
          finish = () => resolve({ status: 204 })
        })
      : { status: 503 },
  )
  const slow = get('slow')
  await arrived
  await get('sealed')
  finish()
  t.match(await slow, { status: 204 })
})

/** A server that writes what it likes, and goes on until the connection is closed. */
async function startRawServer(t: Test, serve: (socket: Socket) => void) {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.once('data', () => serve(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('a server that sends a byte now and then is given up when the time of the call is over', async (t) => {
  const clock = new FakeClock()
  const address = await startRawServer(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n')
    const drip = setInterval(() => {
      socket.write(' ')
      clock.advance(1_000)
    }, 2)
    socket.on('close', () => clearInterval(drip))
  })
  const { transport } = await bench(t, { address, clock })
  await t.rejects(transport.send({ uri: `${address}/v1/x`, method: 'GET' }), { message: 'timeout' })
  t.ok(clock.monotonic() >= 16_000 && clock.monotonic() <= 18_000)
})

t.test('a server that gives hints without end is given up', async (t) => {
  const address = await startRawServer(t, (socket) => {
    const hints = setInterval(() => socket.write('HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n'), 1)
    socket.on('close', () => clearInterval(hints))
  })
  const { transport } = await bench(t, { address })
  await t.rejects(transport.send({ uri: `${address}/v1/x`, method: 'GET' }), { message: 'not-json' })
})

t.test('headers without end are not taken in', async (t) => {
  const address = await startRawServer(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n')
    const more = setInterval(() => socket.write(`x-more: ${'x'.repeat(1_000)}\r\n`), 1)
    socket.on('close', () => clearInterval(more))
  })
  const { transport } = await bench(t, { address })
  await t.rejects(transport.send({ uri: `${address}/v1/x`, method: 'GET' }), { code: 'HPE_HEADER_OVERFLOW' })
})
