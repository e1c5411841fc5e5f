import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { request as requestTls } from 'node:https'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type HttpTls, startHttp } from '../../src/ops/http.ts'
import { createCertificateAuthority } from '../support/certificates.ts'
import { until } from '../support/until.ts'

const HELD = 500
/** Another pod: its address is not kubelet's. */
const ATTACKER = '127.0.0.2'
/** As in the chart's probes: kubelet gives up after that. */
const PROBE_MS = 1_000
const PAGE = 'x'.repeat(200_000)

async function serve(t: Test, tls?: HttpTls) {
  let rendered = 0
  const metrics = async () => {
    rendered += 1
    return { contentType: 'text/plain', body: PAGE }
  }
  const handlers = { metrics, healthy: () => undefined, ready: () => undefined }
  const server = await startHttp({ addr: { host: '127.0.0.1', port: 0 }, tls, handlers })
  t.teardown(() => server.close())
  return { port: server.port, rendered: () => rendered }
}

/** Milliseconds that kubelet's probe took: a connection of its own, as kubelet makes one. */
function probe(port: number, ca?: string): Promise<number> {
  const send = ca === undefined ? request : requestTls
  const startedAt = performance.now()
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path: '/healthz', agent: false, ca, timeout: PROBE_MS }
    const asked = send(options, (response) => {
      response.resume()
      response.on('end', () => {
        if (response.statusCode === 200) resolve(performance.now() - startedAt)
        else reject(new Error(`status ${response.statusCode}`))
      })
    })
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')))
    asked.on('error', reject)
    asked.end()
  })
}

/** Opens HELD connections that say `words`, and each that is closed anew, until the test ends. */
async function hold(t: Test, port: number, words: string) {
  const isReading = !words.includes('/metrics')
  const open = new Set<Socket>()
  let isOver = false
  let opened = 0
  const one = () => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: ATTACKER })
    opened += 1
    socket.on('error', () => {})
    socket.once('connect', () => {
      open.add(socket)
      socket.write(words)
      // What the server has to say to these stays with it.
      if (!isReading) socket.pause()
    })
    socket.once('close', () => {
      open.delete(socket)
      if (!isOver) setTimeout(one, 150)
    })
    socket.resume()
  }
  for (let count = 0; count < HELD; count++) one()
  t.teardown(() => {
    isOver = true
    for (const socket of open) socket.destroy()
  })
  await sleep(300)
  return { opened: () => opened }
}

const attacks: [string, string][] = [
  ['say nothing', ''],
  ['never end a request', 'GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: '],
  ['read no answer', 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(20)],
  ['send a body without end', 'POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\nabc'],
  ['speak no HTTP', '\x16\x03\x01\x02\x00'],
]

for (const [what, words] of attacks) {
  t.test(`the probe is answered while ${HELD} connections that ${what} are held`, async (t) => {
    const { port } = await serve(t)
    const { opened } = await hold(t, port, words)
    const before = process.memoryUsage().rss
    let longest = 0
    for (let count = 0; count < 30; count++) {
      longest = Math.max(longest, await probe(port))
      await sleep(20)
    }
    const grownMiB = (process.memoryUsage().rss - before) / 2 ** 20
    t.ok(
      longest < PROBE_MS,
      `the longest of 30 took ${longest.toFixed(0)} ms, beside ${opened()} connections`,
    )
    t.ok(grownMiB < 100, `${grownMiB.toFixed(0)} MiB more, both sides in this process`)
  })
}

t.test('over TLS too, where handshakes are held', async (t) => {
  const authority = createCertificateAuthority('server CA')
  const folder = mkdtempSync(join(tmpdir(), 'door-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const { certificate, key } = authority.issue(['127.0.0.1'])
  const tls = { certPath: join(folder, 'tls.crt'), keyPath: join(folder, 'tls.key'), clientCaPath: undefined }
  writeFileSync(tls.certPath, certificate)
  writeFileSync(tls.keyPath, key)
  const { port } = await serve(t, tls)
  await hold(t, port, '\x16\x03\x01')
  for (let count = 0; count < 20; count++) {
    t.ok((await probe(port, authority.certificate)) < PROBE_MS)
    await sleep(20)
  }
})

t.test('of all that are held no more stay than there are places', async (t) => {
  const { port } = await serve(t)
  const open = new Set<Socket>()
  for (let count = 0; count < HELD; count++) {
    const socket = connect(port, '127.0.0.1', () => open.add(socket))
    socket.on('error', () => {})
    socket.once('close', () => open.delete(socket))
    socket.resume()
    t.teardown(() => socket.destroy())
  }
  await until('others were dropped', () => open.size > 0 && open.size <= 64)
  await until('the silent ones are dropped too', () => open.size === 0, { timeoutMs: 6_000 })
})

t.test('who scrapes in a loop has the page rendered a few times a second', async (t) => {
  const { port, rendered } = await serve(t)
  const startedAt = performance.now()
  for (let count = 0; count < 200; count++) {
    await new Promise<void>((resolve, reject) => {
      const asked = request({ host: '127.0.0.1', port, path: '/metrics', agent: false }, (response) => {
        response.resume()
        response.on('end', resolve)
      })
      asked.on('error', reject)
      asked.end()
    })
  }
  const most = (performance.now() - startedAt) / 250 + 2
  t.ok(rendered() <= most, `${rendered()} renderings for 200 scrapes`)
})
