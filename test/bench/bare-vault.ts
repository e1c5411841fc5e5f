import { Agent, request } from 'node:http'

/** Bare calls to Vault over kept connections: nothing parsed but the token, nothing checked but the status. */
export type BareVault = {
  logIn(loginPath: string, role: string, jwt: string): Promise<string>
  read(path: string, token: string): Promise<string>
  revoke(token: string): Promise<string>
  close(): void
}

/** @param concurrency calls at one time, and connections */
export function createBareVault(address: string, concurrency: number): BareVault {
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency })
  const call = (method: string, path: string, { token, body }: { token?: string; body?: string }) =>
    new Promise<string>((resolve, reject) => {
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
          const text = Buffer.concat(chunks).toString()
          if (status < 300) resolve(text)
          else reject(new Error(`${method} ${path}: ${status} ${text}`))
        })
      })
      sent.on('error', reject)
      sent.end(body)
    })
  return {
    async logIn(loginPath, role, jwt) {
      const answer = await call('POST', loginPath, { body: JSON.stringify({ role, jwt }) })
      return (JSON.parse(answer) as { auth: { client_token: string } }).auth.client_token
    },
    read: (path, token) => call('GET', path, { token }),
    revoke: (token) => call('POST', 'auth/token/revoke-self', { token }),
    close: () => agent.destroy(),
  }
}
