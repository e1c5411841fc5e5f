import { formatDuration } from '../../core/duration.ts'
import type { ImportSpec } from '../../core/imports/import.ts'
import type { Log } from '../../core/ports/log.ts'
import type { ServiceAccountToken } from '../../core/ports/pod.ts'
import type { Identity } from '../../core/ports/vault.ts'
import { createKubeReferences } from '../../kube/references.ts'
import type { Connections } from '../../vault/connections.ts'
import { createLogin } from '../../vault/login.ts'
import { createRenewal } from '../../vault/renewal.ts'
import type { VaultToken } from '../../vault/response-data.ts'
import { createTokenRevocations } from '../../vault/token-revocations.ts'
import { checkAudience } from './audience.ts'
import { noMeter } from './no-meter.ts'
import { fail, ok, type Verdict, valueIn, warn } from './report.ts'
import { examineSecrets } from './secrets.ts'
import { type Account, readTokenFile, requestToken } from './service-account.ts'
import { noApiServer, type TargetDeps } from './target.ts'

/** The Vault token is revoked even when the doctor is told to stop, in milliseconds. */
const REVOKE_MS = 5_000
const BUILDS = ['login', 'policy', 'files']

type Deps = TargetDeps & { connections: Connections }
type Asked = { spec: ImportSpec; identity: Identity }

/** Logs in as a pod of the import would, looks at all that it would read, and revokes what the login gave. */
export async function examineLogin(
  deps: Deps,
  { spec, identity }: Asked,
  signal: AbortSignal,
): Promise<void> {
  const { report, args } = deps
  if (!args.dryLogin) {
    report.skip(BUILDS, '--dry-login is not given')
    return
  }
  const found = await (spec.appRole ? findSecretId(deps, spec, signal) : findToken(deps, spec, signal))
  if (found === undefined) {
    report.skip(BUILDS, `there is no ${spec.appRole ? 'secret ID' : 'service-account token'} to log in with`)
    return
  }
  const { namespace: podNamespace, name: serviceAccount } = found.account
  const { audience = identity.audience } = found
  const who = { ...identity, podNamespace, serviceAccount, audience }
  const token = valueIn(await report.run('login', () => logIn(deps, who, found.token, signal)))
  if (token === undefined) {
    report.skip(['policy', 'files'], 'the login failed')
    return
  }
  try {
    await examineSecrets({ ...deps, identity: who, token }, spec, signal)
  } finally {
    await report.run('revocation', () => revoke(deps, who, token))
  }
}

type Found = { token: ServiceAccountToken; account: Account; audience?: string }

/** As the plugin finds it, and never shown. */
async function findSecretId(
  { report, clock, cluster, args }: Deps,
  { namespace, appRole }: ImportSpec,
  signal: AbortSignal,
): Promise<Found | undefined> {
  if (appRole === undefined) return undefined
  const { secretIdRef: ref } = appRole
  const verdict = await report.run('secret ID', async () => {
    if (cluster === undefined) throw noApiServer('spec.appRole.secretIdRef')
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
): Promise<Found | undefined> {
  const { tokenFile, serviceAccount: name = '' } = args
  const account: Account = { namespace: spec.namespace, name }
  if (tokenFile === undefined && name === '') {
    await report.run('service-account token', () =>
      fail('nobody is named who logs in', 'give --service-account NAME or --token-file FILE'),
    )
    return undefined
  }
  if (tokenFile !== undefined) {
    const read = valueIn(await report.run('service-account token', () => readTokenFile(tokenFile, clock)))
    return read && { token: read.token, account: read.account ?? account }
  }
  if (cluster === undefined) {
    report.skip(['service-account token'], 'no API server is asked: give --token-file')
    return undefined
  }
  const audience = valueIn(await report.run('audience', () => checkAudience(spec, cluster.audiences)))
  if (audience === undefined) return undefined
  const request = () => requestToken(cluster.client, account, audience, signal)
  const token = valueIn(await report.run('service-account token', request))
  return token && { token, account, audience }
}

async function logIn(
  { connections, clock }: Deps,
  identity: Identity,
  token: ServiceAccountToken,
  signal: AbortSignal,
): Promise<Verdict<VaultToken>> {
  const login = createLogin({ connections, clock, meter: noMeter })
  const given = await login.login(identity, token, signal)
  const { durationMs } = given
  const life = Number.isFinite(durationMs) ? `for ${formatDuration(durationMs)}` : 'without an end'
  return ok(`as role "${identity.role}" at auth/${identity.authMount}: a Vault token ${life}`, given)
}

async function revoke({ connections, clock }: Deps, identity: Identity, token: VaultToken): Promise<Verdict> {
  let isRevoked = true
  const warned = () => {
    isRevoked = false
  }
  const log: Log = { debug() {}, info() {}, warn: warned, error() {} }
  const renewal = createRenewal({ connections, clock, log })
  const revocations = createTokenRevocations({ renewal, clock, log })
  await revocations.revoke(identity, token, AbortSignal.timeout(REVOKE_MS))
  if (isRevoked) return ok('the Vault token of the login is revoked')
  return warn(
    `the Vault token of the login could not be revoked; it ends by itself (accessor ${token.accessor})`,
    'grant update on auth/token/revoke-self, as the default policy does',
  )
}
