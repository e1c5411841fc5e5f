import { createConnections } from '../../vault/connections.ts'
import { createLimiter } from '../../vault/limiter.ts'
import { checkAuthMount, checkRole } from './auth-mount.ts'
import { examineLogin } from './dry-login.ts'
import { noMeter } from './no-meter.ts'
import type { VaultCa } from './plugin-settings.ts'
import { checkServiceAccount } from './service-account.ts'
import { findTarget, type TargetDeps } from './target.ts'
import { checkVaultServer } from './vault-server.ts'

/** Somebody waits for the report, in milliseconds. */
const CALL_TIMEOUT_MS = 10_000

/** Checks Vault, and what the import asks of it. */
export async function examineVault(
  deps: TargetDeps & { /** undefined: it cannot be read from here. */ ca: VaultCa | undefined },
  signal: AbortSignal,
): Promise<void> {
  const { report, clock, config, args, cluster, ca } = deps
  const target = await findTarget(deps, signal)
  const rest = args.importRef ? ['role', 'login', 'policy', 'files'] : []
  if (target === undefined) {
    report.skip(['Vault', 'auth mount', ...rest], 'no address is known: neither --vault-addr nor an import')
    return
  }
  const { endpoint, authMount, asked } = target
  const isOwnCa =
    endpoint.caCert !== undefined || endpoint.skipTLSVerify || !endpoint.address.startsWith('https:')
  if (!isOwnCa && ca === undefined) {
    report.skip(['Vault', 'auth mount', ...rest], "the CA for Vault's certificate is not known")
    return
  }
  const caSource = endpoint.caCert === undefined ? (ca?.source ?? '') : "the import's CA"
  const connections = createConnections({
    clock,
    meter: noMeter,
    limiter: createLimiter({ clock, callsPerSecond: config.vaultQps, concurrency: config.vaultConcurrency }),
    defaultCa: () => ca ?? { pem: undefined, source: 'none' },
    callTimeoutMs: CALL_TIMEOUT_MS,
    parseAnswer: deps.sandbox.parseResponse,
  })
  const vault = { ...deps, connections }
  try {
    const server = await report.run('Vault', () => checkVaultServer(connections, endpoint, caSource, signal))
    if (server.outcome === 'fail') {
      report.skip(['auth mount', ...rest], 'Vault does not serve')
      return
    }
    const method = asked?.identity.method
    const who = { endpoint, authMount, ...(method && { method }) }
    const mount = await report.run('auth mount', () => checkAuthMount(vault, who, signal))
    if (mount.outcome === 'fail' || asked === undefined) {
      const why = asked ? 'no auth method answers at the mount' : 'the import is not in request'
      report.skip(rest, why)
      return
    }
    await report.run('role', () => checkRole(vault, asked.identity, signal))
    const { serviceAccount: name } = args
    if (cluster && name !== undefined) {
      const account = { namespace: asked.spec.namespace, name }
      await report.run('service account', () => checkServiceAccount(cluster.client, account, signal))
    }
    await examineLogin(vault, asked, signal)
  } finally {
    connections.close()
  }
}
