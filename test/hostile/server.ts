import type { ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import { type Attack, runAttacks } from './harness/attack.ts'
import type { Attacker } from './harness/attacker.ts'
import {
  answer,
  type Behaviour,
  type HostileVault,
  isLogin,
  login,
  startHostileVault,
} from './harness/hostile-vault.ts'

// An address that the cluster admin allowed is in the attacker's hands: every byte that comes from there is chosen.

/** Clients of Vault that one namespace has at most: see src/vault/clients.ts. */
const MOST_KEPT = 16
const MIB = 2 ** 20
const gzipped = gzipSync(Buffer.alloc(256 * MIB, '1'))
const value = { data: { value: 'v' } }
const reading =
  (read: Behaviour): Behaviour =>
  (path, response, request) => {
    if (isLogin(path)) return answer(response, 200, login())
    if (path.includes('revoke') || path.includes('renew')) return answer(response, 200, login())
    return read(path, response, request)
  }

type Options = {
  finding: number
  pods?: number
  seconds?: number
  spec?: object
  /** What must hold at the end. */
  judge?: (server: HostileVault, attacker: Attacker) => void
}

const behaving = (name: string, behave: Behaviour, options: Options): Attack => ({
  name,
  finding: options.finding,
  async run(attacker) {
    const server = await startHostileVault(behave)
    attacker.later(() => server.close())
    const file = { name: 'file', source: { path: 'secret/data/x', key: 'value' } }
    await attacker.import('served', {
      address: server.address,
      files: [file],
      refreshInterval: '1s',
      ...options.spec,
    })
    const { pods = 1 } = options
    const publishes = Array.from({ length: pods }, (_, pod) =>
      attacker.attempt({ importName: 'served', serviceAccount: `sa-${pod}`, timeoutMs: 4_000 }),
    )
    await Promise.all(publishes)
    await attacker.dwell(options.seconds ?? 1)
    options.judge?.(server, attacker)
  },
})

/** At most this many requests of a kind in a second, whatever the server says. */
const atMost =
  (part: string, count: number) =>
  (server: HostileVault, attacker: Attacker): void => {
    const { length } = server.asked(part)
    attacker.expect(length <= count, `${length} requests to ${part}, at most ${count}`)
  }

function endless(response: ServerResponse): void {
  response.writeHead(200, { 'Content-Type': 'application/json' })
  const timer = setInterval(() => response.write('"'.padEnd(MIB, '1')), 5)
  response.on('close', () => clearInterval(timer))
}

function drip(response: ServerResponse): void {
  response.writeHead(200, { 'Content-Type': 'application/json' })
  const timer = setInterval(() => response.write('{'), 500)
  response.on('close', () => clearInterval(timer))
}

const words = (text: string) => reading((_path, response) => answer(response, 400, { errors: [text] }))
const leased = (lease: object) =>
  reading((_path, response) =>
    answer(response, 200, { ...value, lease_id: 'database/creds/x/1', renewable: true, ...lease }),
  )

const attacks: Attack[] = [
  behaving('errors of 7 MB of digits', words('1'.repeat(7 * MIB)), { finding: 3 }),
  behaving('errors of 7 MB of eyJ-', words('eyJ-'.repeat(1.7 * MIB)), { finding: 3 }),
  behaving('errors of 7 MB of hvs. and line ends', words('hvs.\n'.repeat(1.4 * MIB)), { finding: 3 }),
  behaving(
    'a million errors',
    reading((_path, response) => answer(response, 403, { errors: Array(1_000_000).fill('1') })),
    { finding: 3 },
  ),
  behaving(
    'a login refused in 7 MB of digits',
    (_path, response) => answer(response, 400, { errors: ['1 '.repeat(3.5 * MIB)] }),
    { finding: 3 },
  ),
  behaving(
    '7 MB of brackets',
    reading((_path, response) => answer(response, 200, '['.repeat(7 * MIB))),
    { finding: 5 },
  ),
  behaving(
    '7 MB of nested objects that end',
    reading((_path, response) => answer(response, 200, `${'{"a":'.repeat(MIB)}1${'}'.repeat(MIB)}`)),
    { finding: 5 },
  ),
  behaving(
    'a number of 7 million digits',
    reading((_path, response) => answer(response, 200, `{"data":{"value":${'1'.repeat(7 * MIB)}}}`)),
    { finding: 5 },
  ),
  behaving(
    'a string of escapes without an end',
    reading((_path, response) => answer(response, 200, `{"data":{"value":"${'\\u0031'.repeat(MIB)}`)),
    { finding: 5 },
  ),
  behaving(
    '600,000 members, names of Object.prototype among them',
    reading((_path, response) =>
      answer(
        response,
        200,
        `{"__proto__":{"data":1},"data":{"__proto__":{"value":1},"constructor":1,${Array.from({ length: 400_000 }, (_, index) => `"k${index}":1`).join(',')}}}`,
      ),
    ),
    { finding: 1 },
  ),
  behaving(
    '256 MB in a gzip of 256 kB',
    reading((_path, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' })
      response.end(gzipped)
    }),
    { finding: 6 },
  ),
  behaving(
    'a body that never ends',
    reading((_path, response) => endless(response)),
    { finding: 6, pods: 4, seconds: 2 },
  ),
  behaving(
    'one byte every half second, 40 pods',
    reading((_path, response) => drip(response)),
    { finding: 12, pods: 40, seconds: 2 },
  ),
  behaving('no answer at all, 40 pods', () => undefined, { finding: 12, pods: 40, seconds: 2 }),
  behaving(
    'redirects of 15 kB to everywhere',
    reading((_path, response) =>
      answer(response, 307, '', { Location: `http://127.0.0.1:1/${'1'.repeat(15_000)}` }),
    ),
    { finding: 3 },
  ),
  behaving(
    'Retry-After of 10,000 digits, dates and signs',
    reading((path, response) =>
      answer(
        response,
        path.length % 2 === 0 ? 429 : 503,
        { errors: [] },
        { 'Retry-After': '9'.repeat(10_000) },
      ),
    ),
    { finding: 12 },
  ),
  behaving(
    'logins whose token is refused at every read',
    reading((_path, response) => answer(response, 403, { errors: ['permission denied'] })),
    {
      finding: 15,
      seconds: 4,
      judge: atMost('login', 14),
    },
  ),
  {
    name: 'a login that gives the same token again after it was refused',
    finding: 15,
    async run(attacker) {
      let isRefused = false
      const server = await startHostileVault(
        reading((_path, response) =>
          isRefused ? answer(response, 403, { errors: ['permission denied'] }) : answer(response, 200, value),
        ),
      )
      attacker.later(() => server.close())
      const file = { name: 'file', source: { path: 'secret/data/x', key: 'value' } }
      await attacker.strike('agent', { address: server.address, files: [file], refreshInterval: '1s' })
      // A token that is seconds old is not suspected when it is refused.
      await attacker.dwell(10.5)
      isRefused = true
      const before = server.asked('login').length
      await attacker.dwell(4)
      const logins = server.asked('login').length - before
      attacker.expect(logins <= 8, `${logins} logins in 4 s`)
    },
  },
  ...[0, -1, 1, 0.001, 1e308, 'constructor'].map((duration) =>
    behaving(
      `a token that lives for ${duration} s`,
      (path, response) =>
        isLogin(path) || path.includes('renew') || path.includes('lookup')
          ? answer(response, 200, login({ lease_duration: duration }))
          : answer(response, 200, value),
      {
        finding: 15,
        seconds: 2,
        judge: (server, attacker) => {
          atMost('login', 12)(server, attacker)
          atMost('renew', 12)(server, attacker)
        },
      },
    ),
  ),
  ...[0, 1, 0.001, -5, 1e308].map((duration) =>
    behaving(`a lease of ${duration} s whose renewals give as much`, leased({ lease_duration: duration }), {
      finding: 16,
      seconds: 2,
      judge: (server, attacker) => {
        atMost('renew', 12)(server, attacker)
        atMost('secret/data/x', 12)(server, attacker)
      },
    }),
  ),
  behaving(
    'a lease that cannot be renewed, revoked or looked up',
    (path, response) => {
      if (isLogin(path)) return answer(response, 200, login())
      if (/revoke|renew|lookup/.test(path)) return answer(response, 500, { errors: ['no'] })
      return answer(response, 200, { ...value, lease_id: 'x/1', renewable: true, lease_duration: 2 })
    },
    { finding: 16, seconds: 3, judge: atMost('', 60) },
  ),
  ...[0, 40].map(
    (delayMs): Attack => ({
      name: `six volumes of two identities, whose answer is another one each time, after ${delayMs} ms`,
      finding: 13,
      async run(attacker) {
        let reads = 0
        const server = await startHostileVault(
          reading((_path, response) => {
            reads += 1
            setTimeout(() => answer(response, 200, { data: { value: String(reads) } }), delayMs)
          }),
        )
        attacker.later(() => server.close())
        const file = { name: 'file', source: { path: 'secret/data/x', key: 'value' } }
        await attacker.import('restless', { address: server.address, files: [file], refreshInterval: '1s' })
        const counters = []
        for (let pod = 0; pod < 6; pod++) {
          const { volume, error } = await attacker.attempt({
            importName: 'restless',
            serviceAccount: `sa-${pod % 2}`,
          })
          if (error !== undefined) throw error
          counters.push(attacker.countRewrites(volume))
          await attacker.dwell(0.1)
        }
        await attacker.dwell(6)
        const most = Math.max(...counters.map((count) => count()))
        attacker.expect(most <= 7, `${most} rewrites of one volume in 6 intervals`)
        attacker.expect(most > 0, 'the test itself: no rewrite was seen')
      },
    }),
  ),
  {
    name: '120 addresses, each of another import, all let go again',
    finding: 17,
    async run(attacker) {
      const { stage } = attacker
      const servers = await Promise.all(
        Array.from({ length: 120 }, () =>
          startHostileVault(reading((_path, response) => answer(response, 200, value))),
        ),
      )
      attacker.later(() => Promise.all(servers.map((server) => server.close())))
      const file = { name: 'file', source: { path: 'secret/data/x', key: 'value' } }
      for (const [index, { address }] of servers.entries())
        await attacker.import(`at-${index}`, { address, files: [file] })
      const made = []
      for (let index = 0; index < servers.length; index++)
        made.push(await attacker.attempt({ importName: `at-${index}` }))
      for (const { volume } of made) await attacker.unpublish(volume)
      // Kept for the next pod for less than a minute, and for one namespace no more than so many at any time.
      const open = servers.reduce((sum, server) => sum + server.sockets(), 0)
      attacker.expect(open <= MOST_KEPT, `${open} connections are open to addresses that no volume names`)
      attacker.expect(!stage.plugin().hasEnded(), 'the plugin ended')
    },
  },
]

await runAttacks('server', attacks, { args: ['--allow-address=*', '--allow-http'] })
