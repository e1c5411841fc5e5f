import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createBareVault } from './bare-vault.ts'
import { type Leg, runLeg } from './workers.ts'

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

/** A bare client in a process of its own: the cost of logins and reads for the caller. */
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

async function work(job: FloorJob): Promise<Leg> {
  const { kind, address, loginPath, role, readPath, jwts, concurrency } = job
  const vault = createBareVault(address, concurrency)
  const tokens: string[] = []
  const logIn = async (jwt: string) => {
    const token = await vault.logIn(loginPath, role, jwt)
    tokens.push(token)
    return token
  }
  try {
    if (kind === 'login') return await runLeg(jwts, concurrency, logIn)
    if (kind === 'pair') {
      return await runLeg(jwts, concurrency, async (jwt) => vault.read(readPath, await logIn(jwt)))
    }
    const token = await logIn(jwts[0] ?? '')
    return await runLeg(jwts, concurrency, () => vault.read(readPath, token))
  } finally {
    // Not timed: the server must be as empty for the next leg as it was for this one.
    await runLeg(tokens, concurrency, vault.revoke)
    vault.close()
  }
}
