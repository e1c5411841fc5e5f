import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** An API server that answers a TokenReview. */
export type ReviewMode = 'ok' | 'unauthenticated' | 'reviewer-unauthorized' | 'reviewer-forbidden'

/** A Kubernetes API server that can review tokens and nothing else. */
export type TokenReviewServer = {
  address: string
  mode: ReviewMode
  close(): Promise<void>
}

export async function startTokenReview(): Promise<TokenReviewServer> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { spec } = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    const { status, body } = answers[api.mode](spec.token)
    response.writeHead(status, { 'Content-Type': 'application/json' })
    response.end(JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const api: TokenReviewServer = {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    mode: 'ok',
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return api
}

type Reply = { status: number; body: object }

const answers: Record<ReviewMode, (token: string) => Reply> = {
  ok: (token) => {
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'))
    const user = { username: claims.sub, uid: claims['kubernetes.io'].serviceaccount.uid, groups: [] }
    return review({ authenticated: true, audiences: claims.aud, user })
  },
  unauthenticated: () => review({ authenticated: false, error: '[invalid bearer token]' }),
  'reviewer-unauthorized': () => failure(401, 'Unauthorized', 'Unauthorized'),
  'reviewer-forbidden': () =>
    failure(
      403,
      'Forbidden',
      'tokenreviews.authentication.k8s.io is forbidden: User "system:serviceaccount:vault:vault" cannot create resource "tokenreviews"',
    ),
}

function review(status: object): Reply {
  return { status: 201, body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', status } }
}

function failure(code: number, reason: string, message: string): Reply {
  return {
    status: code,
    body: { apiVersion: 'v1', kind: 'Status', status: 'Failure', code, reason, message },
  }
}
