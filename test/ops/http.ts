import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { type RequestOptions, request as requestTls } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type HttpHandlers, type HttpTls, startHttp } from '../../src/ops/http.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'

const well: HttpHandlers = {
  metrics: async () => ({ contentType: 'text/plain; version=0.0.4', body: 'up 1\n' }),
  healthy: () => undefined,
  ready: () => undefined,
}

async function serve(t: Test, handlers: Partial<HttpHandlers> = {}, tls?: HttpTls) {
  const server = await startHttp({
    addr: { host: '127.0.0.1', port: 0 },
    tls,
    handlers: { ...well, ...handlers },
  })
  t.teardown(() => server.close())
  return server
}

type Reply = { status: number | undefined; headers: Record<string, unknown>; body: string }

function ask(port: number, path: string, options: RequestOptions = {}): Promise<Reply> {
  const send = options.ca === undefined ? request : requestTls
  return new Promise((resolve, reject) => {
    const asked = send({ host: '127.0.0.1', port, path, agent: false, ...options }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text) => {
        body += text
      })
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }))
    })
    asked.on('error', reject)
    asked.end()
  })
}

t.test('metrics, health and readiness are served', async (t) => {
  const { port } = await serve(t)
  t.match(await ask(port, '/metrics'), {
    status: 200,
    body: 'up 1\n',
    headers: { 'content-type': 'text/plain; version=0.0.4' },
  })
  t.match(await ask(port, '/healthz'), { status: 200, body: 'ok\n' })
  t.match(await ask(port, '/readyz?verbose'), { status: 200, body: 'ok\n' })
})

t.test('a failing check answers 503 with the reason', async (t) => {
  const { port } = await serve(t, {
    healthy: () => 'the CSI socket is gone',
    ready: async () => 'not registered yet',
  })
  t.match(await ask(port, '/healthz'), { status: 503, body: 'the CSI socket is gone\n' })
  t.match(await ask(port, '/readyz'), { status: 503, body: 'not registered yet\n' })
})

t.test('HEAD gets only the headers; other methods and paths get nothing', async (t) => {
  const { port } = await serve(t)
  t.match(await ask(port, '/metrics', { method: 'HEAD' }), {
    status: 200,
    body: '',
    headers: { 'content-length': '5' },
  })
  t.match(await ask(port, '/metrics', { method: 'POST' }), { status: 405, headers: { allow: 'GET, HEAD' } })
  for (const path of ['/', '/metrics/', '/metrics/../healthz', '//metrics', '/debug/pprof', '/%6Detrics']) {
    t.match(await ask(port, path), { status: 404, body: 'not found\n' }, path)
  }
})

t.test('a handler that fails answers 500 without its error message', async (t) => {
  const fail = () => {
    throw new Error('canary')
  }
  const { port } = await serve(t, { metrics: async () => fail(), ready: fail })
  t.match(await ask(port, '/metrics'), { status: 500, body: 'internal error\n' })
  t.match(await ask(port, '/readyz'), { status: 500, body: 'internal error\n' })
})

t.test('an address in use is an error at start', async (t) => {
  const { port } = await serve(t)
  await t.rejects(startHttp({ addr: { host: '127.0.0.1', port }, handlers: well }), { code: 'EADDRINUSE' })
})

t.test('close waits for the open request and accepts no new one', async (t) => {
  let release = () => {}
  let reached = () => {}
  const isReached = new Promise<void>((resolve) => {
    reached = resolve
  })
  const metrics = () =>
    new Promise<{ contentType: string; body: string }>((resolve) => {
      release = () => resolve({ contentType: 'text/plain', body: 'late' })
      reached()
    })
  const server = await startHttp({ addr: { host: '127.0.0.1', port: 0 }, handlers: { ...well, metrics } })
  const reply = ask(server.port, '/metrics')
  await isReached
  const closed = server.close()
  await t.rejects(ask(server.port, '/healthz'), { code: 'ECONNREFUSED' })
  release()
  t.match(await reply, { status: 200, body: 'late' })
  await closed
})

t.test('an idle connection does not delay close', async (t) => {
  const server = await startHttp({ addr: { host: '127.0.0.1', port: 0 }, handlers: well })
  const socket = connect(server.port, '127.0.0.1')
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  await new Promise<void>((resolve) => {
    socket.once('data', () => resolve())
    socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
  })
  await server.close()
  socket.destroy()
  t.pass('it is closed')
})

/** Files of a server certificate that `authority` signed. */
function tlsFiles(t: Test, authority = createCertificateAuthority('server CA')) {
  const directory = mkdtempSync(join(tmpdir(), 'http-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const file = (name: string) => join(directory, name)
  const issue = (by: typeof authority) => {
    const { certificate, key } = by.issue(['127.0.0.1'])
    writeFileSync(file('tls.crt'), certificate)
    writeFileSync(file('tls.key'), key)
  }
  issue(authority)
  return {
    file,
    issue,
    authority,
    tls: { certPath: file('tls.crt'), keyPath: file('tls.key'), clientCaPath: undefined },
  }
}

t.test('with a certificate it speaks only TLS, and uses a new certificate after a reload', async (t) => {
  const { tls, issue, authority, file } = tlsFiles(t)
  const server = await serve(t, {}, tls)
  t.match(await ask(server.port, '/healthz', { ca: authority.certificate }), { status: 200 })
  await t.rejects(ask(server.port, '/healthz'))
  const next = createCertificateAuthority('next CA')
  issue(next)
  await server.reload()
  t.match(await ask(server.port, '/healthz', { ca: next.certificate }), { status: 200 })
  await t.rejects(ask(server.port, '/healthz', { ca: authority.certificate }))
  writeFileSync(file('tls.crt'), 'broken')
  await t.rejects(server.reload())
  t.match(await ask(server.port, '/healthz', { ca: next.certificate }), { status: 200 }, 'the old one stays')
})

t.test('with a client CA only its clients are answered, after a reload too', async (t) => {
  const { tls, authority, file } = tlsFiles(t)
  const clients = createCertificateAuthority('client CA')
  writeFileSync(file('clients.crt'), clients.certificate)
  const server = await serve(t, {}, { ...tls, clientCaPath: file('clients.crt') })
  const { certificate: cert, key } = clients.issue(['prometheus'])
  const stranger = createCertificateAuthority('client CA').issue(['prometheus'])
  const ca = authority.certificate
  for (const _ of ['before', 'after']) {
    t.match(await ask(server.port, '/metrics', { ca, cert, key }), { status: 200 })
    await t.rejects(ask(server.port, '/metrics', { ca }))
    await t.rejects(ask(server.port, '/metrics', { ca, cert: stranger.certificate, key: stranger.key }))
    await server.reload()
  }
})

t.test('a TLS file that is missing is an error at start', async (t) => {
  const { tls } = tlsFiles(t)
  await t.rejects(serve(t, {}, { ...tls, keyPath: '/nowhere/tls.key' }), { code: 'ENOENT' })
})
