import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { request as requestTls } from 'node:https'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { type HttpTls, startHttp } from '../../src/ops/http.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'
import { until } from '../harness/until.ts'

const HELD = 500
/** Timeout of the chart's probes. */
const PROBE_MS = 1_000
/** kubelet restarts the container after this many failures in a row. */
const FAILURES = 3
const PAGE = 'x'.repeat(32_000)

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

/** Milliseconds that a probe takes on a new connection, as kubelet makes one. */
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

/** Holds connections that send `words` until the test ends. @returns how many have been opened so far */
async function hold(t: Test, port: number, words: string, isReading = true): Promise<() => Promise<number>> {
  const workerData = { port, words, count: HELD, isReading }
  const thread = new Worker(new URL('../harness/hostile/connection-holder.ts', import.meta.url), {
    workerData,
  })
  t.teardown(() => thread.terminate())
  await once(thread, 'message')
  return async () => {
    thread.postMessage('how many')
    const [opened] = await once(thread, 'message')
    return opened
  }
}

function failuresInARow(took: readonly number[]): number {
  let most = 0
  let now = 0
  for (const ms of took) {
    now = ms < PROBE_MS ? 0 : now + 1
    most = Math.max(most, now)
  }
  return most
}

const attacks: [string, string, boolean?][] = [
  ['say nothing', ''],
  ['never end a request', 'GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: '],
  ['read no answer', 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n', false],
  ['ask before they are answered', 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(20), false],
  ['send a body without end', 'POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\nabc'],
  ['speak no HTTP', '\x16\x03\x01\x02\x00'],
]

for (const [what, words, isReading] of attacks) {
  t.test(`the probe is answered while ${HELD} connections that ${what} are held`, async (t) => {
    const { port } = await serve(t)
    const opened = await hold(t, port, words, isReading)
    const before = process.memoryUsage().rss
    const took: number[] = []
    for (let count = 0; count < 30; count++) {
      took.push(await probe(port).catch(() => PROBE_MS))
      await sleep(20)
    }
    const grownMiB = (process.memoryUsage().rss - before) / 2 ** 20
    const shown = took.map((ms) => ms.toFixed(0)).join(' ')
    t.ok(failuresInARow(took) < FAILURES, `milliseconds: ${shown}, beside ${await opened()} connections`)
    t.ok(grownMiB < 100, `${grownMiB.toFixed(0)} MiB more`)
  })
}

t.test('the probe is answered over TLS while handshakes are held', async (t) => {
  const authority = createCertificateAuthority('server CA')
  const folder = mkdtempSync(join(tmpdir(), 'connection-limit-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const { certificate, key } = authority.issue(['127.0.0.1'])
  const tls = { certPath: join(folder, 'tls.crt'), keyPath: join(folder, 'tls.key'), clientCaPath: undefined }
  writeFileSync(tls.certPath, certificate)
  writeFileSync(tls.keyPath, key)
  const { port } = await serve(t, tls)
  await hold(t, port, '\x16\x03\x01')
  const took: number[] = []
  for (let count = 0; count < 20; count++) {
    took.push(await probe(port, authority.certificate).catch(() => PROBE_MS))
    await sleep(20)
  }
  t.ok(failuresInARow(took) < FAILURES, `milliseconds: ${took.map((ms) => ms.toFixed(0)).join(' ')}`)
})

t.test('no more than 64 of the held connections stay open', async (t) => {
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

t.test(
  'the page is rendered at most ten times a second for any number of scrapes, and is never outdated',
  async (t) => {
    const { port, rendered } = await serve(t)
    const scrape = () =>
      new Promise<number>((resolve, reject) => {
        const asked = request({ host: '127.0.0.1', port, path: '/metrics', agent: false }, (response) => {
          response.resume()
          response.on('end', () => resolve(rendered()))
        })
        asked.on('error', reject)
        asked.end()
      })
    const startedAt = performance.now()
    for (let round = 0; round < 10; round++) {
      const before = rendered()
      const seen = await Promise.all([scrape(), scrape(), scrape(), scrape(), scrape()])
      t.ok(Math.min(...seen) > before, 'rendered after it was asked for')
    }
    const most = (performance.now() - startedAt) / 100 + 1
    t.ok(rendered() <= most, `${rendered()} renderings for 50 scrapes`)
  },
)
