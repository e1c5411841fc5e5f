import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { type Leg, runLeg } from './workers.ts'

/** What the floor does: plain HTTP, nothing parsed but the token. */
export type FloorJob = {
  kind: 'login' | 'read' | 'pair'
  address: string
  loginPath: string
  role: string
  readPath: string
  /** One service-account token for each operation. */
  jwts: string[]
  concurrency: number
}

export type Floor = {
  run(job: FloorJob): Promise<Leg>
  close(): Promise<void>
}

/** A bare keep-alive client in a process of its own: what logins and reads cost whoever makes them. */
export async function startFloor(): Promise<Floor> {
  const child = fork(fileURLToPath(import.meta.url), ['serve'])
  const exited = once(child, 'exit')
  await once(child, 'message')
  return {
    async run(job) {
      child.send(job)
      const [answer] = (await once(child, 'message')) as [Leg | { failed: string }]
      if ('failed' in answer) throw new Error(`the floor failed: ${answer.failed}`)
      return answer
    },
    async close() {
      child.disconnect()
      await exited
    },
  }
}

if (process.argv[2] === 'serve' && process.argv[1] === fileURLToPath(import.meta.url)) serve()

function serve(): void {
  process.on('message', async (job: FloorJob) => {
    const answer = await work(job).catch((error: Error) => ({ failed: error.message }))
    process.send?.(answer)
  })
  process.send?.('up')
}

async function work({ kind, address, loginPath, role, readPath, jwts, concurrency }: FloorJob): Promise<Leg> {
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency })
  const tokens: string[] = []
  const logIn = async (jwt: string) => {
    const answer = await call(agent, address, 'POST', loginPath, { body: JSON.stringify({ role, jwt }) })
    const token = (JSON.parse(answer) as { auth: { client_token: string } }).auth.client_token
    tokens.push(token)
    return token
  }
  const read = (token: string) => call(agent, address, 'GET', readPath, { token })
  try {
    if (kind === 'login') return await runLeg(jwts, concurrency, logIn)
    if (kind === 'pair') return await runLeg(jwts, concurrency, async (jwt) => read(await logIn(jwt)))
    const token = await logIn(jwts[0] ?? '')
    return await runLeg(jwts, concurrency, () => read(token))
  } finally {
    // Not timed: the server must be as empty for the next leg as it was for this one.
    const revoke = (token: string) => call(agent, address, 'POST', 'auth/token/revoke-self', { token })
    await runLeg(tokens, concurrency, revoke)
    agent.destroy()
  }
}

function call(
  agent: Agent,
  address: string,
  method: string,
  path: string,
  { token, body }: { token?: string; body?: string },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = {
      ...(token === undefined ? {} : { 'X-Vault-Token': token }),
      ...(body === undefined ? {} : { 'Content-Length': Buffer.byteLength(body) }),
    }
    const sent = request(`${address}/v1/${path}`, { agent, method, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const status = response.statusCode ?? 0
        if (status < 300) resolve(Buffer.concat(chunks).toString())
        else reject(new Error(`${method} ${path}: ${status} ${Buffer.concat(chunks)}`))
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}
