import { once } from 'node:events'
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from 'node:http2'
import https from 'node:https'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { SecretText } from '../../src/core/secret.ts'
import { createKubeClient } from '../../src/kube/client.ts'
import { FakeClock } from '../fakes/clock.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'
import { until } from '../harness/until.ts'

const authority = createCertificateAuthority()
const { certificate: cert, key } = authority.issue(['127.0.0.1'])
const never = new AbortController().signal
const get = { method: 'GET', path: '/api' } as const

type Seen = { token: string; body: string; version: string; path: string }

/** An API server over HTTP/2 that echoes; a path with `watch` is a stream of one line that stays open. */
async function bench(t: Test, options: { allowHTTP1?: boolean } = {}) {
  const clock = new FakeClock()
  const seen: Seen[] = []
  const sessions = new Set<ServerHttp2Session>()
  let port = 0
  let server: Http2SecureServer

  async function start() {
    server = createSecureServer({ cert, key, allowHTTP1: false, ...options })
    server.on('session', (session) => {
      sessions.add(session)
      session.on('close', () => sessions.delete(session))
      session.on('error', () => {})
    })
    server.on('request', async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      const { authorization = '' } = request.headers
      const body = Buffer.concat(chunks).toString()
      seen.push({ token: authorization, body, version: request.httpVersion, path: request.url })
      response.writeHead(request.url.includes('busy') ? 429 : 200, { 'retry-after': '7' })
      if (request.url.includes('watch')) response.write('{"type":"BOOKMARK"}\n')
      else response.end('{"kind":"Status"}')
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
  }
  /** As a process that is killed. */
  const stop = async () => {
    for (const session of sessions) session.destroy()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  await start()
  const clientOf = (to = port) => {
    const current = async () => ({
      token: new SecretText('token'),
      ca: authority.certificate,
      certificate: undefined,
    })
    const client = createKubeClient({
      clock,
      connection: {
        server: `https://127.0.0.1:${to}`,
        tlsServerName: undefined,
        skipTLSVerify: false,
        credentials: { current, expire: () => {} },
      },
    })
    t.teardown(() => client.close())
    return client
  }
  const client = clientOf()
  const open = async () => {
    const stream = await client.stream({ method: 'GET', path: '/watch' }, 150_000, never)
    if (!('lines' in stream)) throw new Error('no stream')
    const lines = stream.lines[Symbol.asyncIterator]()
    await lines.next()
    return lines
  }
  t.teardown(() => stop().catch(() => {}))
  return { clock, seen, sessions, client, clientOf, open, start, stop, port: () => port }
}

t.test('calls and watches share one connection', async (t) => {
  const { client, open, sessions, seen } = await bench(t)
  await Promise.all(Array.from({ length: 20 }, () => open()))
  const answer = await client.call({ ...get, method: 'POST', body: { some: 'ä' } }, never)
  t.match(answer, { status: 200, body: { kind: 'Status' } })
  t.equal(sessions.size, 1)
  t.match(seen.at(-1), { token: 'Bearer token', body: '{"some":"ä"}', version: '2.0' })
  t.match(await client.call({ ...get, path: '/busy' }, never), { status: 429, retryAfterMs: 7_000 })
})

t.test('more than one connection can take open another', async (t) => {
  const { client, open, sessions } = await bench(t)
  const watches = []
  for (let count = 0; count < 95; count += 1) watches.push(await open())
  t.equal(sessions.size, 2)
  t.equal((await client.call(get, never)).status, 200)
  t.equal(sessions.size, 2)
  await Promise.all(watches.map((lines) => lines.return?.()))
})

t.test('a watch that is left gives its place back', async (t) => {
  const { open, sessions } = await bench(t)
  for (let count = 0; count < 200; count += 1) await (await open()).return?.()
  t.equal(sessions.size, 1)
})

t.test('after a goaway no new streams begin on the connection, and open ones end', async (t) => {
  const { client, open, sessions } = await bench(t)
  const lines = await open()
  const [first] = sessions
  first?.goaway()
  await until('the farewell', async () => {
    await client.call(get, never)
    return sessions.size === 2
  })
  first?.destroy()
  await t.rejects(lines.next())
})

t.test(
  'a server that is killed ends watches with an error, and is found again when it is back',
  async (t) => {
    const { client, open, start, stop } = await bench(t)
    const lines = await open()
    await stop()
    await t.rejects(lines.next())
    await t.rejects(client.call(get, never), { code: 'ECONNREFUSED' })
    await start()
    t.equal((await client.call(get, never)).status, 200)
  },
)

t.test('a connection that leads nowhere is found by its silence', async (t) => {
  const { clock, clientOf, port } = await bench(t)
  const sockets = new Set<Socket>()
  const proxy = createServer((socket) => {
    const onward = connect(port(), '127.0.0.1')
    socket.pipe(onward).pipe(socket)
    for (const one of [socket, onward]) sockets.add(one.on('error', () => {}))
  }).listen(0, '127.0.0.1')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    proxy.close()
  })
  await once(proxy, 'listening')
  const client = clientOf((proxy.address() as AddressInfo).port)
  t.equal((await client.call(get, never)).status, 200)
  await clock.advance(30_000)
  t.equal((await client.call(get, never)).status, 200, 'a ping that is answered ends nothing')
  for (const socket of sockets) socket.unpipe().pause()
  let answer: unknown
  const call = client.call({ ...get, limitMs: 120_000 }, never).then((answered) => {
    answer = answered
  })
  await clock.advance(29_000)
  t.equal(answer, undefined)
  await clock.advance(17_000)
  await call
  t.match(answer, { status: 200 })
  t.equal(sockets.size, 4)
})

t.test('an aborted call rejects at once', async (t) => {
  const { client, sessions } = await bench(t)
  const late = new AbortController()
  const stream = await client.stream({ method: 'GET', path: '/watch' }, 150_000, late.signal)
  if (!('lines' in stream)) throw new Error('no stream')
  const lines = stream.lines[Symbol.asyncIterator]()
  await lines.next()
  late.abort(new Error('stopping'))
  await t.rejects(lines.next())
  t.equal((await client.call(get, never)).status, 200)
  t.equal(sessions.size, 1)
  await t.rejects(client.call(get, AbortSignal.abort(new Error('stopping'))), { message: 'stopping' })
})

t.test('a server that speaks only HTTP/1.1 is called with it', async (t) => {
  const server = https.createServer({ cert, key }, (request, response) =>
    response.end(`"${request.httpVersion}"`),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { clientOf } = await bench(t)
  const client = clientOf((server.address() as AddressInfo).port)
  for (let times = 0; times < 3; times += 1)
    t.match(await client.call(get, never), { status: 200, body: '1.1' })
  client.close()
})

t.test('a certificate of an unknown authority is refused', async (t) => {
  const other = createCertificateAuthority().issue(['127.0.0.1'])
  const server = createSecureServer({ cert: other.certificate, key: other.key })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { clientOf } = await bench(t)
  const client = clientOf((server.address() as AddressInfo).port)
  await t.rejects(client.call(get, never), /certificate/)
})
