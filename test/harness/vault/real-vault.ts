import { startTokenReview, type TokenReviewServer } from '../../fakes/token-review.ts'
import { createCertificateAuthority } from '../pki/certificates.ts'
import { createTokenIssuer, type TokenIssuer } from '../pki/token-issuer.ts'
import { loginTokens } from './login-tokens.ts'
import { findOrFetchOpenBao, type OpenBao, type OpenBaoOptions, startOpenBao } from './openbao.ts'
import { createVaultAdmin, type VaultAdmin } from './vault-admin.ts'

/** The namespace of all pods, unless a test says otherwise. */
export const NAMESPACE = 'shop'
export const AUDIENCE = 'vault'

/** What the role `app` may read: `locked/` is not among it, and `secret/app` lacks its data/. */
const READABLE = ['secret/data/*', 'secret/app', 'kv1/*', 'nomount/*']

/**
 * A real OpenBao as a Vault admin sets it up for a cluster: KV v2 at `secret`, KV v1 at `kv1`, auth methods `kubernetes`
 * and `jwt`, each with a role `app` for the service accounts of the namespace `shop` (jwt: `backend` only).
 */
export type RealVault = {
  bao: OpenBao
  admin: VaultAdmin
  issuer: TokenIssuer
  review: TokenReviewServer
  /** Writes a secret of KV v2: `secret/data/NAME`. */
  put(name: string, data: object): Promise<void>
  /** Accessors of the tokens of logins that are not revoked. */
  loginTokens(): Promise<string[]>
  /** A role of the kubernetes mount for the service accounts of `shop`. */
  writeRole(name: string, more?: object): Promise<void>
  close(): Promise<void>
}

export async function startRealVault(options: Partial<OpenBaoOptions> = {}): Promise<RealVault> {
  const bao = await startOpenBao({ binary: await findOrFetchOpenBao(), storage: 'inmem', ...options })
  const admin = createVaultAdmin({ address: bao.adminAddress, token: bao.rootToken })
  const issuer = createTokenIssuer()
  const review = await startTokenReview()

  const writeRole: RealVault['writeRole'] = async (name, more = {}) => {
    await admin.write(`auth/kubernetes/role/${name}`, {
      bound_service_account_names: '*',
      bound_service_account_namespaces: NAMESPACE,
      audience: AUDIENCE,
      token_policies: 'app',
      token_ttl: 600,
      ...more,
    })
  }

  await Promise.all([
    admin.enableKv2('secret'),
    admin.enableKv1('kv1'),
    admin.writeReadPolicy('app', READABLE),
    setUpKubernetes(admin, issuer, review).then(() => writeRole('app')),
    admin.setUpJwt({ mount: 'jwt', issuerKey: issuer }),
  ])
  await admin.writeJwtRole('jwt', 'app', {
    namespace: NAMESPACE,
    serviceAccount: 'backend',
    audience: AUDIENCE,
    policies: ['app'],
  })
  return {
    bao,
    admin,
    issuer,
    review,
    writeRole,
    loginTokens: () => loginTokens(admin),
    put: async (name, data) => {
      await admin.write(`secret/data/${name}`, { data })
    },
    close: async () => {
      await review.close()
      await bao.close()
    },
  }
}

async function setUpKubernetes(admin: VaultAdmin, issuer: TokenIssuer, review: TokenReviewServer) {
  await admin.write('sys/auth/kubernetes', { type: 'kubernetes' })
  await admin.write('auth/kubernetes/config', {
    kubernetes_host: review.address,
    kubernetes_ca_cert: createCertificateAuthority().certificate,
    token_reviewer_jwt: issuer.issue({ namespace: 'vault', serviceAccount: 'vault', audience: 'api' }),
    disable_local_ca_jwt: true,
  })
}
