import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { Config } from '../core/settings/config.ts'
import { watchFile } from '../files/reload.ts'
import { identityService } from '../grpc/identity.ts'
import { nodeService } from '../grpc/node.ts'
import { startRegistration } from '../grpc/registration.ts'
import { startGrpcServer } from '../grpc/server.ts'
import { createNode } from '../node/node.ts'
import { createClock } from '../ops/clock.ts'
import { createExecutableRelease } from '../ops/executable.ts'
import { startHttp } from '../ops/http.ts'
import { compactHeap, readMemoryUse, startMemoryRelease } from '../ops/memory-release.ts'
import { createMetrics } from '../ops/metrics.ts'
import { createUtilization } from '../ops/utilization.ts'
import { createSandbox } from '../sandbox/sandbox.ts'
import { createLimiter } from '../vault/limiter.ts'
import { createVault } from '../vault/vault.ts'
import { createLeaseStore } from '../volume/lease-store.ts'
import { createLedgerStore } from '../volume/ledger-store.ts'
import { createMounter } from '../volume/mount.ts'
import { lockStateDirectory } from '../volume/state-lock.ts'
import { volumeStats } from '../volume/stats.ts'
import { createSyscalls } from '../volume/syscalls.ts'
import { createVolumeFiles } from '../volume/volume-files.ts'
import { version } from './arguments.ts'
import { connectCluster } from './surroundings.ts'

/** Time for readers of the old files before the idle slot is synced; a soak of a million reads showed none torn. */
const GRACE_MS = 50
/** Limit for the first reading of an import directory; the wait for an API server is shorter. */
const IMPORTS_TIMEOUT_MS = 60_000
/** How long kubelet's connection to the registration socket may take to close. */
const DEREGISTRATION_MS = 500
/** How long calls under way at SIGTERM may take to finish. */
const DRAIN_MS = 10_000

export type App = {
  /** Accepts no new calls, lets those under way finish, closes everything. Unmounts and revokes nothing. */
  stop(): Promise<void>
  /** Reads the files again that are not watched: the certificates of --http-addr. */
  reload(): Promise<void>
}

/**
 * Builds the program and starts it in order: health checks first, the services that kubelet calls last.
 * @throws Error with a message for the cluster admin; everything started until then is closed again
 */
export async function startApp(
  config: Config,
  { log, onFatal }: { log: Log; onFatal: (error: unknown) => void },
): Promise<App> {
  const clock = createClock()
  // A core file would write our secrets to a disk.
  createSyscalls().forbidCoreDumps()
  const closers: (() => Promise<unknown> | unknown)[] = []
  /** Files that are not watched, as the CA and the imports are. */
  const reloads: { what: string; reload: () => Promise<void> }[] = []
  let waitsFor: () => string | undefined = () => undefined
  let phase: 'starting' | 'waiting for another process' | 'ready' | 'stopping' = 'starting'

  async function stop(): Promise<void> {
    phase = 'stopping'
    for (const close of closers.splice(0).reverse()) {
      // A failure must not keep the others, such as the drain, from closing in order.
      try {
        await close()
      } catch (error) {
        log.error({ error }, 'closing failed, continuing')
      }
    }
  }

  async function start(): Promise<void> {
    const metrics = createMetrics({ version: version() })
    if (config.httpAddr !== undefined) {
      const http = await startHttp({
        addr: config.httpAddr,
        tls: httpTls(config),
        handlers: {
          metrics: metrics.render,
          healthy: () => undefined,
          ready: () => (phase === 'ready' ? waitsFor() : phase),
        },
      })
      if (config.httpTlsCert)
        reloads.push({ what: 'certificates of --http-addr', reload: () => http.reload() })
      closers.push(() => http.close())
    }

    // Before anything that another process of ours may still use: the ledger, the volumes, the sockets.
    const onWait = () => {
      phase = 'waiting for another process'
    }
    closers.push(await lockStateDirectory({ stateDir: config.stateDir, clock, log, onWait }))
    phase = 'starting'

    const ca = await defaultCa(config, { log, clock })
    closers.push(() => ca.close())
    const limiter = createLimiter({
      clock,
      callsPerSecond: config.vaultQps,
      concurrency: config.vaultConcurrency,
    })
    const sandbox = createSandbox({ clock })
    closers.push(() => sandbox.close())
    const { store, issuer } = createVault({
      clock,
      meter: metrics.meter,
      log,
      limiter,
      defaultCa: ca.current,
      parseAnswer: sandbox.parseResponse,
    })
    closers.push(() => store.close())

    const cluster = await connectCluster({ config, log, clock, validate: sandbox.validateImport })
    closers.push(() => cluster.close())
    waitsFor = cluster.waitsFor
    const { imports, notifier, tokenSource, references, secretSync } = cluster
    await imports.start(AbortSignal.timeout(IMPORTS_TIMEOUT_MS))

    const node = createNode({
      settings: config,
      clock,
      random: Math.random,
      log,
      meter: metrics.meter,
      notifier,
      imports,
      tokenSource,
      references,
      secretSync,
      store,
      issuer,
      leaseStore: createLeaseStore(),
      mounter: createMounter(),
      files: createVolumeFiles({ clock, graceMs: GRACE_MS }),
      ledger: createLedgerStore({ stateDir: config.stateDir, log }),
      statsOf: volumeStats,
      sandbox,
    })
    closers.push(() => node.stop())
    metrics.setVolumes(() => ({
      byState: node.volumes.countByState(),
      oldestSyncAgeSeconds: node.volumes.oldestSyncSeconds(clock.monotonic()),
      leases: node.volumes.countLeases(),
      reservedBytes: node.budget.reservedBytes(),
      limitBytes: node.budget.limitBytes,
    }))
    await node.resume()

    const { driverName, nodeId, endpoint, registrationSocket, kubeletEndpoint } = config
    const ready = () => phase === 'ready'
    const server = await startGrpcServer({
      endpoint,
      log,
      clock,
      services: [
        identityService({ driverName, version: version(), ready, log, clock }),
        nodeService({ nodeId, node, log, clock }),
      ],
    })
    closers.push(() => server.close(DRAIN_MS))
    phase = 'ready'
    if (registrationSocket !== undefined) {
      const onRefused = (error: string) => onFatal(new Error(error))
      const socketPath = registrationSocket
      const registration = await startRegistration({
        socketPath,
        driverName,
        kubeletEndpoint,
        log,
        clock,
        onRegistered: cluster.onRegistered,
        onRefused,
      })
      closers.push(() => registration.close(DEREGISTRATION_MS))
    }
    startMemoryRelease({
      clock,
      log,
      memory: readMemoryUse,
      utilization: createUtilization(),
      compactHeap,
      releaseExecutable: createExecutableRelease(),
    })
    log.info(
      { driverName, nodeId, endpoint, version: version(), startMs: Math.round(performance.now()) },
      'ready',
    )
  }

  try {
    await start()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    stop,
    async reload() {
      const reloaded: string[] = []
      for (const { what, reload } of reloads) {
        try {
          await reload()
          reloaded.push(what)
        } catch (error) {
          log.error({ what, error }, 'reload failed, keeping the previous content')
        }
      }
      log.info({ reloaded }, 'reload done')
    },
  }
}

function httpTls({ httpTlsCert, httpTlsKey, httpClientCa }: Config) {
  if (httpTlsCert === undefined || httpTlsKey === undefined) return undefined
  return { certPath: httpTlsCert, keyPath: httpTlsKey, clientCaPath: httpClientCa }
}

/** The CA of --vault-ca-cert, watched for changes; without the flag Node's own CAs. */
async function defaultCa({ vaultCaCert }: Config, deps: { log: Log; clock: Clock }) {
  if (vaultCaCert === undefined) {
    const source = "Node's own CAs (no --vault-ca-cert)"
    return { current: () => ({ pem: undefined, source }), close: () => undefined }
  }
  let pem: string | undefined
  const follow = (content: string) => {
    pem = content
  }
  const watched = await watchFile(vaultCaCert, follow, deps)
  const source = `--vault-ca-cert ${vaultCaCert}`
  return { current: () => ({ pem, source }), close: watched.close }
}
