import type { Test } from 'tap'
import type { FaultError } from '../../../src/core/faults/fault.ts'
import type { Issuer } from '../../../src/core/ports/leases.ts'
import type { ServiceAccountToken } from '../../../src/core/ports/pod.ts'
import type { Identity, SecretData, SecretStore } from '../../../src/core/ports/vault.ts'
import type { FakeLog } from '../../fakes/log.ts'
import type { FakeMeter } from '../../fakes/meter.ts'
import { createTokenIssuer, type TokenIssuer, type TokenSubject } from '../pki/token-issuer.ts'
import { realClock } from '../real-clock.ts'
import { findOrFetchOpenBao, type OpenBao, type OpenBaoOptions, startOpenBao } from './openbao.ts'
import { createVaultAdmin, type VaultAdmin } from './vault-admin.ts'
import { createVaultBench, patient, testIdentity, testToken } from './vault-bench.ts'

/** Paths that the role of the bench may read. */
export const readable = [
  'secret/data/app',
  'secret/data/none',
  'secret/data/deleted',
  'secret/data/destroyed',
  'secret/app',
  'team/a/kv/data/app',
  'team/a/kv/app',
  'kv1/app',
  'kv1/none',
  'nomount/x',
]

/** A real OpenBao with a jwt mount, KV engines, and role "app" for service account shop/backend. */
export type OpenBaoBench = {
  bao: OpenBao
  admin: VaultAdmin
  issuer: TokenIssuer
  store: SecretStore
  /** What the volumes' own leases and credentials come from. */
  vaultIssuer: Issuer
  log: FakeLog
  meter: FakeMeter
  identity: Identity
  /** A service-account token of the pod; `more` may change any claim. */
  podToken(more?: Partial<TokenSubject>): ServiceAccountToken
  read(path: string, options?: { identity?: Identity; tokens?: ServiceAccountToken[] }): Promise<SecretData>
  /** The fault that a read ends with; fails the test when it does not. */
  faultOf(
    t: Test,
    path: string,
    options?: { identity?: Identity; tokens?: ServiceAccountToken[] },
  ): Promise<FaultError>
}

export async function startOpenBaoBench(
  t: Test,
  options: Omit<OpenBaoOptions, 'binary' | 'storage'> & {
    storage?: OpenBaoOptions['storage']
    callTimeoutMs?: number
  } = {},
): Promise<OpenBaoBench> {
  const { callTimeoutMs, ...wanted } = options
  const bao = await startOpenBao({ binary: await findOrFetchOpenBao(), storage: 'inmem', ...wanted })
  t.teardown(() => bao.close())
  const admin = createVaultAdmin({ address: bao.adminAddress, token: bao.rootToken })
  const issuer = createTokenIssuer()
  await admin.setUpJwt({ mount: 'jwt', issuerKey: issuer })
  await admin.writeReadPolicy('app', readable)
  const role = { namespace: 'shop', serviceAccount: 'backend', audience: 'vault', policies: ['app'] }
  await admin.writeJwtRole('jwt', 'app', role)

  const {
    store,
    issuer: vaultIssuer,
    log,
    meter,
  } = createVaultBench(realClock, callTimeoutMs === undefined ? {} : { callTimeoutMs })
  t.teardown(() => store.close())
  const identity = testIdentity(bao.address)
  const podToken: OpenBaoBench['podToken'] = (more = {}) =>
    testToken(issuer.issue({ namespace: 'shop', serviceAccount: 'backend', audience: 'vault', ...more }))
  const read: OpenBaoBench['read'] = (path, { identity: as = identity, tokens = [podToken()] } = {}) =>
    store.read(as, path, tokens, patient)
  const faultOf: OpenBaoBench['faultOf'] = async (t, path, how) => {
    const error = await read(path, how).then(
      () => t.fail(`reading ${path} must fail`),
      (error) => error,
    )
    for (const { token } of how?.tokens ?? [])
      t.notOk(`${error.stack}`.includes(token.reveal()), 'no token in the error')
    t.notMatch(JSON.stringify(error.facts), /eyJ|[hs]v?[sbr]?\.[A-Za-z0-9]{24}/, 'no token in the facts')
    return error
  }
  return { bao, admin, issuer, store, vaultIssuer, log, meter, identity, podToken, read, faultOf }
}

export async function setUpKv(admin: VaultAdmin): Promise<void> {
  await admin.enableKv2('secret')
  await admin.enableKv2('team/a/kv')
  await admin.enableKv1('kv1')
}
