import { formatDuration } from '../../core/duration.ts'
import type { ImportSpec } from '../../core/imports/import.ts'
import type { Log } from '../../core/ports/log.ts'
import type { Meter } from '../../core/ports/metrics.ts'
import type { ServiceAccountToken } from '../../core/ports/pod.ts'
import type { Identity } from '../../core/ports/vault.ts'
import { createKubeReferences } from '../../kube/references.ts'
import type { Connections } from '../../vault/connections.ts'
import { createLogin } from '../../vault/login.ts'
import { createRenewal } from '../../vault/renewal.ts'
import type { VaultToken } from '../../vault/response-data.ts'
import { createTokenRevocations } from '../../vault/token-revocations.ts'
import { fail, ok, type Verdict, valueIn, warn } from './report.ts'
import { checkSecrets } from './secrets.ts'
import { type Account, checkAudience, readTokenFile, requestToken } from './service-account.ts'
import { noApiServerFault, type ResolvedImport, type TargetDeps } from './target.ts'

/** The Vault token is revoked even when the doctor is interrupted; how long that may take, in milliseconds. */
const REVOKE_MS = 5_000
const DEPENDENT_CHECKS = ['login', 'policy', 'files']

type Deps = TargetDeps & { connections: Connections; meter: Meter }
/** Logs in as a pod of the import would, checks everything that the pod would read, and revokes the Vault token. */
export async function checkDryLogin(
  deps: Deps,
  { spec, identity }: ResolvedImport,
  signal: AbortSignal,
): Promise<void> {
  const { report, args } = deps
  if (!args.dryLogin) {
    report.skip(DEPENDENT_CHECKS, '--dry-login is not given')
    return
  }
  const found = await (spec.appRole ? findSecretId(deps, spec, signal) : findToken(deps, spec, signal))
  if (found === undefined) {
    report.skip(
      DEPENDENT_CHECKS,
      `there is no ${spec.appRole ? 'secret ID' : 'service-account token'} to log in with`,
    )
    return
  }
  const { namespace: podNamespace, name: serviceAccount } = found.account
  const { audience = identity.audience } = found
  const loginIdentity = { ...identity, podNamespace, serviceAccount, audience }
  const token = valueIn(await report.run('login', () => logIn(deps, loginIdentity, found.token, signal)))
  if (token === undefined) {
    report.skip(['policy', 'files'], 'the login failed')
    return
  }
  try {
    await checkSecrets({ ...deps, identity: loginIdentity, token }, spec, signal)
  } finally {
    await report.run('revocation', () => revoke(deps, loginIdentity, token))
  }
}

type LoginToken = { token: ServiceAccountToken; account: Account; audience?: string }

/** Read as the plugin reads it, and never printed. */
async function findSecretId(
  { report, clock, cluster, args }: Deps,
  { namespace, appRole }: ImportSpec,
  signal: AbortSignal,
): Promise<LoginToken | undefined> {
  if (appRole === undefined) return undefined
  const { secretIdRef: ref } = appRole
  const verdict = await report.run('secret ID', async () => {
    if (cluster === undefined) throw noApiServerFault('spec.appRole.secretIdRef')
    const references = createKubeReferences({ client: cluster.client, clock })
    const token = await references.secretId(namespace, ref, signal)
    return ok(`key ${ref.key} of Secret ${namespace}/${ref.name}`, token)
  })
  const token = valueIn(verdict)
  const account = { namespace, name: args.serviceAccount ?? '' }
  return token && { token: { token, expiresAt: Number.POSITIVE_INFINITY }, account }
}

async function findToken(
  { report, clock, cluster, args }: Deps,
  spec: ImportSpec,
  signal: AbortSignal,
): Promise<LoginToken | undefined> {
  const { tokenFile, serviceAccount: name = '' } = args
  const account: Account = { namespace: spec.namespace, name }
  if (tokenFile === undefined && name === '') {
    await report.run('service-account token', () =>
      fail('no service account to log in as', 'give --service-account NAME or --token-file FILE'),
    )
    return undefined
  }
  if (tokenFile !== undefined) {
    const read = valueIn(await report.run('service-account token', () => readTokenFile(tokenFile, clock)))
    return read && { token: read.token, account: read.account ?? account }
  }
  if (cluster === undefined) {
    report.skip(['service-account token'], 'there is no API server to request one from: give --token-file')
    return undefined
  }
  const audience = valueIn(await report.run('audience', () => checkAudience(spec, cluster.audiences)))
  if (audience === undefined) return undefined
  const request = () => requestToken(cluster.client, account, audience, signal)
  const token = valueIn(await report.run('service-account token', request))
  return token && { token, account, audience }
}

async function logIn(
  { connections, clock, meter }: Deps,
  identity: Identity,
  token: ServiceAccountToken,
  signal: AbortSignal,
): Promise<Verdict<VaultToken>> {
  const login = createLogin({ connections, clock, meter })
  const given = await login.login(identity, token, signal)
  const { durationMs } = given
  const lifetime = Number.isFinite(durationMs) ? `for ${formatDuration(durationMs)}` : 'without expiry'
  return ok(`as role "${identity.role}" at auth/${identity.authMount}: a Vault token ${lifetime}`, given)
}

async function revoke({ connections, clock }: Deps, identity: Identity, token: VaultToken): Promise<Verdict> {
  let isRevoked = true
  const onWarn = () => {
    isRevoked = false
  }
  const log: Log = { debug() {}, info() {}, warn: onWarn, error() {} }
  const renewal = createRenewal({ connections, clock, log })
  const revocations = createTokenRevocations({ renewal, clock, log })
  await revocations.revoke(identity, token, AbortSignal.timeout(REVOKE_MS))
  if (isRevoked) return ok('the Vault token of the login is revoked')
  return warn(
    `the Vault token of the login could not be revoked; it expires on its own (accessor ${token.accessor})`,
    'grant update on auth/token/revoke-self, as the default policy does',
  )
}
