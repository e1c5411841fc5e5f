import type { Meter } from '../../core/ports/metrics.ts'
import { createConnections } from '../../vault/connections.ts'
import { createLimiter } from '../../vault/limiter.ts'
import { checkAuthMount, checkRole } from './auth-mount.ts'
import { checkDryLogin } from './dry-login.ts'
import type { VaultCa } from './plugin-settings.ts'
import { checkServiceAccount } from './service-account.ts'
import { resolveTarget, type TargetDeps } from './target.ts'
import { checkVaultServer } from './vault-server.ts'

/** Short, since a person waits for the report; in milliseconds. */
const CALL_TIMEOUT_MS = 10_000

/** The doctor exposes no metrics. */
const noMeter: Meter = { published() {}, unpublished() {}, rotated() {}, vaultCall() {}, login() {} }

/** Checks Vault, and everything that the import needs from it. */
export async function checkVault(
  deps: TargetDeps & { /** undefined: it cannot be read from here. */ ca: VaultCa | undefined },
  signal: AbortSignal,
): Promise<void> {
  const { report, clock, config, args, cluster, ca } = deps
  const target = await resolveTarget(deps, signal)
  const rest = args.importRef ? ['role', 'login', 'policy', 'files'] : []
  if (target === undefined) {
    report.skip(['Vault', 'auth mount', ...rest], 'no address: neither --vault-addr nor an import sets one')
    return
  }
  const { endpoint, authMount, resolvedImport } = target
  const needsNoDefaultCa =
    endpoint.caCert !== undefined || endpoint.skipTLSVerify || !endpoint.address.startsWith('https:')
  if (!needsNoDefaultCa && ca === undefined) {
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
  const vault = { ...deps, connections, meter: noMeter }
  try {
    const server = await report.run('Vault', () => checkVaultServer(connections, endpoint, caSource, signal))
    if (server.outcome === 'fail') {
      report.skip(['auth mount', ...rest], 'Vault does not serve requests')
      return
    }
    const method = resolvedImport?.identity.method
    const login = { endpoint, authMount, ...(method && { method }) }
    const mount = await report.run('auth mount', () => checkAuthMount(vault, login, signal))
    if (mount.outcome === 'fail' || resolvedImport === undefined) {
      const reason = resolvedImport ? 'no auth method answers at the mount' : 'the import is not usable'
      report.skip(rest, reason)
      return
    }
    await report.run('role', () => checkRole(vault, resolvedImport.identity, signal))
    const { serviceAccount: name } = args
    if (cluster && name !== undefined) {
      const account = { namespace: resolvedImport.spec.namespace, name }
      await report.run('service account', () => checkServiceAccount(cluster.client, account, signal))
    }
    await checkDryLogin(vault, resolvedImport, signal)
  } finally {
    connections.close()
  }
}
