import { Agent, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type Socket } from 'node:net'
import { type Attack, runAttacks } from './harness/attack.ts'
import type { Attacker } from './harness/attacker.ts'

// What all tenants share: calls to one Vault, the plugin's turns, its port.

const valueAt = (path: string, name = 'value', key = 'value') => ({ name, source: { path, key } })
/** Rewrites of one volume in a second at an interval of one second: one each, and one for the second's fraction. */
const REWRITES_SECONDS = 6

async function putMany({ put }: Attacker, count: number): Promise<void> {
  for (let at = 0; at < count; at += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, index) => put(`path-${at + index}`, { value: 'v' })))
  }
}

const paths = (count: number) =>
  Array.from({ length: count }, (_, index) => valueAt(`attacker1/path-${index}`, `f-${index}`))

/** Two service accounts, three volumes each, that read a path whose answer is another one each time. */
const restless = (
  name: string,
  files: object[],
  prepare: (attacker: Attacker) => Promise<void>,
  mayBeRefused = false,
): Attack => ({
  name,
  finding: 13,
  prepare,
  async run(attacker) {
    await attacker.import('restless', { files, refreshInterval: '1s' })
    const pods = Array.from({ length: 6 }, (_, pod) =>
      attacker.attempt({ importName: 'restless', serviceAccount: `sa-${pod % 2}` }),
    )
    const counters = []
    for (const { volume, error } of await Promise.all(pods)) {
      if (!mayBeRefused)
        attacker.expect(error === undefined, `the test itself: ${error?.message.slice(0, 200)}`)
      if (error === undefined) counters.push(attacker.countRewrites(volume))
    }
    await attacker.dwell(REWRITES_SECONDS)
    for (const count of counters) {
      attacker.expect(count() > 0, 'the test itself: no rewrite was seen')
      attacker.expect(
        count() <= REWRITES_SECONDS + 1,
        `${count()} rewrites of one volume in ${REWRITES_SECONDS} intervals`,
      )
    }
  },
})

/** OpenBao's own mount of a database that takes connections and never says a word. */
async function deadDatabase({ stage, later }: Attacker): Promise<void> {
  const { admin } = stage.world
  const sockets = new Set<Socket>()
  const tarpit = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
  })
  await new Promise<void>((resolve) => tarpit.listen(0, '127.0.0.1', resolve))
  const { port } = tarpit.address() as AddressInfo
  await admin.write('sys/mounts/attacker-db', { type: 'database' })
  await admin.write('attacker-db/config/dead', {
    plugin_name: 'postgresql-database-plugin',
    allowed_roles: '*',
    verify_connection: false,
    connection_url: `postgresql://{{username}}:{{password}}@127.0.0.1:${port}/postgres?sslmode=disable`,
    username: 'u',
    password: 'p',
  })
  await admin.write('attacker-db/roles/app', {
    db_name: 'dead',
    creation_statements: ['SELECT 1'],
    default_ttl: 60,
    max_ttl: 60,
  })
  later(async () => {
    for (const socket of sockets) socket.destroy()
    tarpit.close()
    await admin.delete('sys/mounts/attacker-db').catch(() => undefined)
  })
}

const hanging = (name: string, pods: number, files: number): Attack => ({
  name,
  finding: 12,
  prepare: deadDatabase,
  async run(attacker) {
    const sources = Array.from({ length: files }, (_, index) => ({
      name: `s-${index}`,
      path: 'attacker-db/creds/app',
    }))
    const list = sources.map(({ name }, index) => ({
      name: `f-${index}`,
      source: { ref: name, key: 'username' },
    }))
    await attacker.import('dead', { sources, files: list, refreshInterval: '1s' })
    const attempts = Array.from({ length: pods }, (_, pod) =>
      attacker.attempt({ importName: 'dead', serviceAccount: `sa-${pod}`, timeoutMs: 6_000 }),
    )
    await Promise.all(attempts)
  },
})

/** That of one pod; the prober and kubelet have another. */
const FLOOD_ADDRESS = '127.0.0.9'
/** Of the chart's probe. */
const LIVENESS_TIMEOUT_MS = 5_000

/** Connections to the plugin's port, held for some seconds. */
const flood = (name: string, count: number, words: string, seconds = 2): Attack => ({
  name,
  finding: 9,
  async run(attacker) {
    const { httpPort } = attacker.stage
    const sockets: Socket[] = []
    attacker.later(() => {
      for (const socket of sockets) socket.destroy()
    })
    for (let at = 0; at < count; at += 100) {
      for (let index = 0; index < Math.min(100, count - at); index++) {
        const socket = connect({ port: httpPort, host: '127.0.0.1', localAddress: FLOOD_ADDRESS })
        socket.on('error', () => socket.destroy())
        // Answers are not read: what the plugin has to say stays with the plugin.
        socket.pause()
        if (words !== '') socket.write(words)
        sockets.push(socket)
      }
      await attacker.dwell(0.01)
    }
    for (let check = 0; check < seconds * 2; check++) {
      await attacker.dwell(0.5)
      const failed = await livenessFailure(httpPort)
      attacker.expect(failed === undefined, `kubelet's liveness probe, on a connection of its own: ${failed}`)
    }
  },
})

/** As kubelet does, from another address than the pods. */
async function livenessFailure(port: number): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  const agent = new Agent({ keepAlive: false })
  const sent = request(
    { port, host: '127.0.0.1', path: '/healthz', agent, timeout: LIVENESS_TIMEOUT_MS },
    (response) => {
      response.resume()
      resolve(response.statusCode === 200 ? undefined : `status ${response.statusCode}`)
    },
  )
  sent.on('error', (error) => resolve(error.message))
  sent.on('timeout', () => sent.destroy(new Error(`no answer within ${LIVENESS_TIMEOUT_MS} ms`)))
  sent.end()
  return await promise
}

const get = (page: string) => `GET ${page} HTTP/1.1\r\nHost: a\r\n\r\n`

const attacks: Attack[] = [
  {
    name: 'one import of 400 paths, published by ten service accounts',
    finding: 12,
    prepare: (attacker) => putMany(attacker, 400),
    async run(attacker) {
      await attacker.import('wide', { files: paths(400), refreshInterval: '1s' })
      const pods = Array.from({ length: 10 }, (_, pod) =>
        attacker.attempt({ importName: 'wide', serviceAccount: `sa-${pod}` }),
      )
      await Promise.all(pods)
    },
  },
  {
    name: '60 pods of 60 service accounts at once, each of 20 paths, looking again every second',
    finding: 12,
    prepare: (attacker) => putMany(attacker, 50),
    async run(attacker) {
      await attacker.import('crowd', { files: paths(20), refreshInterval: '1s' })
      const pods = Array.from({ length: 60 }, (_, pod) =>
        attacker.attempt({ importName: 'crowd', serviceAccount: `sa-${pod}` }),
      )
      await Promise.all(pods)
      await attacker.dwell(2)
    },
  },
  ...[false, true].map(
    (hasHeaders): Attack => ({
      name: `a quota on the own mount: 429${hasHeaders ? ' with Retry-After' : ''}`,
      finding: 12,
      async prepare({ put, stage, later }) {
        const { admin } = stage.world
        await put('x', { value: 'v' })
        await admin.write('sys/quotas/config', { enable_rate_limit_response_headers: hasHeaders })
        await admin.write('sys/quotas/rate-limit/attacker', { path: 'attacker1/', rate: 1, interval: '30s' })
        later(() => admin.delete('sys/quotas/rate-limit/attacker'))
      },
      async run(attacker) {
        await attacker.import('limited', { files: [valueAt('attacker1/x')], refreshInterval: '1s' })
        const pods = Array.from({ length: 6 }, (_, pod) =>
          attacker.attempt({ importName: 'limited', serviceAccount: `sa-${pod}`, timeoutMs: 3_000 }),
        )
        await Promise.all(pods)
        await attacker.dwell(2)
      },
    }),
  ),
  hanging('a dead database behind the own mount, 40 pods', 40, 1),
  hanging('a dead database asked 60 times by one import', 4, 60),
  {
    name: '30 pods that fail, each tried again without a pause',
    finding: 12,
    async run(attacker) {
      await attacker.import('failing', { files: [valueAt('secret/data/victim/app')] })
      const until = Date.now() + 3_000
      const lane = async (pod: number) => {
        while (Date.now() < until)
          await attacker.attempt({ importName: 'failing', serviceAccount: `sa-${pod % 10}` })
      }
      await Promise.all(Array.from({ length: 30 }, (_, pod) => lane(pod)))
    },
  },
  {
    name: 'pods that come and go as fast as they can',
    finding: 12,
    async run(attacker) {
      await attacker.put('x', { value: 'v' })
      await attacker.import('brief', { files: [valueAt('attacker1/x')] })
      const until = Date.now() + 3_000
      const lane = async (pod: number) => {
        while (Date.now() < until) {
          const { volume } = await attacker.attempt({ importName: 'brief', serviceAccount: `sa-${pod}` })
          await attacker.unpublish(volume)
        }
      }
      await Promise.all(Array.from({ length: 8 }, (_, pod) => lane(pod)))
    },
  },
  restless(
    'access tokens that are new at each read (identity/oidc/token)',
    [valueAt('identity/oidc/token/attacker', 'token', 'token')],
    async ({ stage }) => {
      const { admin } = stage.world
      await admin.write('identity/oidc/key/attacker', { allowed_client_ids: '*' })
      await admin.write('identity/oidc/role/attacker', { key: 'attacker', ttl: '10m' })
    },
  ),
  restless(
    'the remaining time of a token (auth/token/lookup-self)',
    [valueAt('auth/token/lookup-self', 'ttl', 'ttl')],
    async () => undefined,
    true,
  ),
  {
    ...restless(
      'a secret that the attacker writes all the time',
      [valueAt('attacker1/busy')],
      async ({ put }) => {
        await put('busy', { value: '0' })
      },
    ),
    async run(attacker) {
      let isDone = false
      const writing = (async () => {
        for (let write = 0; !isDone; write++) {
          await attacker.put('busy', { value: String(write) })
          await attacker.dwell(0.02)
        }
      })()
      await restless('', [valueAt('attacker1/busy')], async () => undefined).run(attacker)
      isDone = true
      await writing
    },
  },
  flood('6,000 idle connections to the port of health and metrics', 6_000, ''),
  flood('4,000 connections with half a request', 4_000, 'GET /metrics HTTP/1.1\r\nHost: '),
  flood(
    '300 connections that each ask for 200 pages of metrics and read none',
    300,
    get('/metrics').repeat(200),
  ),
  flood(
    '500 connections with headers of 15 kB',
    500,
    `GET /healthz HTTP/1.1\r\nHost: a\r\n${`x-${'y'.repeat(100)}: ${'z'.repeat(100)}\r\n`.repeat(70)}\r\n`,
  ),
  flood(
    '500 bodies of which nothing comes',
    500,
    'POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n',
  ),
]

await runAttacks('lanes', attacks)
