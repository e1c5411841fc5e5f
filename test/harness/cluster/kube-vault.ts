import { startVaultFront, type VaultFront } from '../../fakes/vault-front.ts'
import { createCertificateAuthority } from '../pki/certificates.ts'
import { loginTokens } from '../vault/login-tokens.ts'
import { findOrFetchOpenBao, type OpenBao, startOpenBao } from '../vault/openbao.ts'
import { createVaultAdmin, type VaultAdmin } from '../vault/vault-admin.ts'
import { mustKubectl } from './cluster.ts'
import type { ClusterApi } from './cluster-api.ts'

/** As docs/admins/vault-setup.md has it. */
export const ROLE = 'my-namespace1_backend'
export const SERVICE_ACCOUNT = 'backend-sa'
export const PATH = 'secret/data/database-for-python-app'

const REVIEWER = 'vault-reviewer'

export type RoleWish = {
  mount?: string
  serviceAccounts?: readonly string[]
  policies?: readonly string[]
  audience?: string
  ttl?: string
}

/** A real OpenBao whose logins are reviewed by the cluster's own API server, at main-kube and secondary-kube. */
export type KubeVault = {
  bao: OpenBao
  admin: VaultAdmin
  /** Sees every request that comes through its address. */
  front: VaultFront
  /** Writes `secret/data/<name>`. */
  put(name: string, data: Readonly<Record<string, unknown>>): Promise<void>
  /** A role of service accounts of `namespace`; by default the one of API.md for backend-sa. */
  writeRole(role: string, wish?: RoleWish): Promise<void>
  loginTokens(): Promise<string[]>
  close(): Promise<void>
}

/**
 * @param options.namespace the pods' own; the reviewer's service account lives in it too
 * The server keeps its data when it is stopped, and speaks TLS at `bao.address` beside http at `bao.adminAddress`.
 */
export async function startKubeVault(options: { namespace: string; api: ClusterApi }): Promise<KubeVault> {
  const { namespace, api } = options
  const authority = createCertificateAuthority()
  const bao = await startOpenBao({
    binary: await findOrFetchOpenBao(),
    storage: 'file',
    tls: { ...authority.issue(['127.0.0.1']), ca: authority.certificate },
  })
  const front = await startVaultFront(bao.adminAddress)
  const admin = createVaultAdmin({ address: bao.adminAddress, token: bao.rootToken })
  const binding = `${REVIEWER}-${namespace}`

  const writeRole: KubeVault['writeRole'] = async (role, wish = {}) => {
    const { mount = 'main-kube', serviceAccounts = [SERVICE_ACCOUNT], policies = [ROLE] } = wish
    await admin.write(`auth/${mount}/role/${role}`, {
      bound_service_account_names: serviceAccounts.join(','),
      bound_service_account_namespaces: namespace,
      token_policies: policies.join(','),
      token_ttl: wish.ttl ?? '10m',
      ...(wish.audience ? { audience: wish.audience } : {}),
    })
  }

  async function close(): Promise<void> {
    await api.remove(`/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/${binding}`)
    await front.close()
    await bao.close()
  }

  try {
    const reviewerToken = await createReviewer(api, namespace, binding)
    await admin.enableKv2('secret')
    await admin.writeReadPolicy(ROLE, [PATH])
    for (const mount of ['main-kube', 'secondary-kube']) {
      await admin.write(`sys/auth/${mount}`, { type: 'kubernetes' })
      await admin.write(`auth/${mount}/config`, {
        kubernetes_host: api.server,
        kubernetes_ca_cert: api.ca,
        token_reviewer_jwt: reviewerToken,
        disable_local_ca_jwt: true,
      })
    }
    await writeRole(ROLE)
    return {
      bao,
      admin,
      front,
      put: async (name, data) => {
        await admin.write(`secret/data/${name}`, { data })
      },
      writeRole,
      loginTokens: () => loginTokens(admin),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** A service account that may have tokens reviewed, and its token. */
async function createReviewer(api: ClusterApi, namespace: string, binding: string): Promise<string> {
  await api.create(`/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name: REVIEWER } })
  await api.remove(`/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/${binding}`)
  await api.create('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
    metadata: { name: binding },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:auth-delegator' },
    subjects: [{ kind: 'ServiceAccount', name: REVIEWER, namespace }],
  })
  return mustKubectl(['create', 'token', REVIEWER, '-n', namespace, '--duration=4h']).trim()
}
