import { generateKeyPairSync, randomUUID, sign } from 'node:crypto'

/** Signs service-account tokens as a Kubernetes API server would: for demo, tests and bench. */
export type TokenIssuer = {
  issuer: string
  /** What a Vault jwt mount needs to check the tokens. */
  publicKeyPem: string
  /** A pod-bound service-account token in compact form. */
  issue(subject: TokenSubject): string
}

export type TokenSubject = {
  namespace: string
  serviceAccount: string
  audience: string
  pod?: { name: string; uid: string }
  /** Seconds from now; negative makes an expired one. Default 600. */
  ttl?: number
}

/** Makes a key on the spot; it lives as long as the process. */
export function createTokenIssuer(
  options: { issuer?: string; algorithm?: 'RS256' | 'ES256' } = {},
): TokenIssuer {
  const issuer = options.issuer ?? 'https://kubernetes.default.svc.cluster.local'
  const algorithm = options.algorithm ?? 'ES256'
  const { privateKey, publicKey } =
    algorithm === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 })
  const header = encode({ alg: algorithm, kid: 'local', typ: 'JWT' })

  return {
    issuer,
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    issue: (subject) => {
      const body = `${header}.${encode(claims(issuer, subject))}`
      // ieee-p1363 is the plain r||s form that JWS wants; it means nothing to RSA.
      const signature = sign('sha256', Buffer.from(body), { key: privateKey, dsaEncoding: 'ieee-p1363' })
      return `${body}.${signature.toString('base64url')}`
    },
  }
}

function claims(issuer: string, subject: TokenSubject): object {
  const now = Math.floor(Date.now() / 1000)
  const expiresAt = now + (subject.ttl ?? 600)
  const issuedAt = Math.min(now, expiresAt) - 1
  return {
    aud: [subject.audience],
    exp: expiresAt,
    iat: issuedAt,
    nbf: issuedAt,
    iss: issuer,
    jti: randomUUID(),
    'kubernetes.io': {
      namespace: subject.namespace,
      pod: subject.pod ?? { name: 'app', uid: randomUUID() },
      serviceaccount: { name: subject.serviceAccount, uid: randomUUID() },
    },
    sub: `system:serviceaccount:${subject.namespace}:${subject.serviceAccount}`,
  }
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
