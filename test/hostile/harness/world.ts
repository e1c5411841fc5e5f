import { createTokenIssuer, type TokenIssuer } from '../../harness/pki/token-issuer.ts'
import { findOrFetchOpenBao, type OpenBao, startOpenBao } from '../../harness/vault/openbao.ts'
import { createVaultAdmin, type VaultAdmin } from '../../harness/vault/vault-admin.ts'
import { AUDIENCE, JWT_MOUNT, VICTIM } from './victim-messages.ts'

/** Kubernetes namespace, role and policy of the attacker. */
export const ATTACKER = 'attacker'

/** A real OpenBao with what two teams have there. */
export type World = {
  bao: OpenBao
  admin: VaultAdmin
  /** Signs the tokens of the attacker's pods. */
  issuer: TokenIssuer
  /** A jwt role of the attacker's; `more` may change anything of it. */
  writeRole(name: string, more?: object): Promise<void>
  /** Accessors of the attacker's Vault tokens that still live. */
  attackerTokens(): Promise<string[]>
  close(): Promise<void>
}

const VICTIM_POLICY = 'path "secret/data/victim/*" { capabilities = ["read"] }'
/** All there is below the attacker's own mounts, and what Vault's default policy gives everybody. */
export const ATTACKER_POLICY = [
  'attacker/*',
  'attacker1/*',
  'attacker-db/*',
  'attacker-pki/*',
  'identity/oidc/token/attacker',
  'auth/approle/role/attacker/secret-id',
]
  .map((path) => `path "${path}" { capabilities = ["create", "read", "update", "delete", "list"] }`)
  .join('\n')

export async function startWorld(victimKey: { publicKeyPem: string; issuer: string }): Promise<World> {
  const bao = await startOpenBao({ binary: await findOrFetchOpenBao(), storage: 'inmem' })
  const admin = createVaultAdmin({ address: bao.adminAddress, token: bao.rootToken })
  const issuer = createTokenIssuer()
  await admin.enableKv2('secret')
  await admin.enableKv2('attacker')
  await admin.enableKv1('attacker1')
  await admin.write(`sys/auth/${JWT_MOUNT}`, { type: 'jwt' })
  await admin.write(`auth/${JWT_MOUNT}/config`, {
    jwt_validation_pubkeys: [victimKey.publicKeyPem, issuer.publicKeyPem],
    bound_issuer: issuer.issuer,
  })
  await admin.write(`sys/policies/acl/${VICTIM}`, { policy: VICTIM_POLICY })
  await admin.write(`sys/policies/acl/${ATTACKER}`, { policy: ATTACKER_POLICY })
  const roleOf = (name: string, team: string, more: object = {}) =>
    admin.write(`auth/${JWT_MOUNT}/role/${name}`, {
      role_type: 'jwt',
      user_claim: 'sub',
      bound_claims: { '/kubernetes.io/namespace': team },
      bound_audiences: [AUDIENCE],
      token_policies: [team],
      token_ttl: 600,
      ...more,
    })
  await roleOf(VICTIM, VICTIM)
  await roleOf(ATTACKER, ATTACKER)

  return {
    bao,
    admin,
    issuer,
    writeRole: async (name, more) => {
      // A role that is written again keeps the fields that are not sent.
      await admin.delete(`auth/${JWT_MOUNT}/role/${name}`)
      await roleOf(name, ATTACKER, more)
    },
    async attackerTokens() {
      const { data } = (await admin.read('auth/token/accessors?list=true')) as { data: { keys: string[] } }
      const looked = await Promise.all(data.keys.map((accessor) => isAttackers(admin, accessor)))
      return data.keys.filter((_accessor, index) => looked[index])
    },
    close: () => bao.close(),
  }
}

/** One that was revoked since it was listed is none. */
async function isAttackers(admin: VaultAdmin, accessor: string): Promise<boolean> {
  const answer = await admin.write('auth/token/lookup-accessor', { accessor }).catch(() => undefined)
  const { data } = (answer ?? {}) as { data?: { policies: string[]; display_name: string } }
  return data?.display_name.includes(`system:serviceaccount:${ATTACKER}:`) ?? false
}
