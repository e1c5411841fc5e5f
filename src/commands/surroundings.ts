import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { ImportSource } from '../core/ports/imports.ts'
import type { Notifier, References, SecretSync, TokenSource } from '../core/ports/kubernetes.ts'
import type { Log } from '../core/ports/log.ts'
import type { ValidateImport } from '../core/ports/sandbox.ts'
import type { Config } from '../core/settings/config.ts'
import { createDirImports } from '../files/imports-dir.ts'
import { createLogNotifier } from '../ops/notifier.ts'

/** For writing queued events at shutdown, in milliseconds. */
const LAST_EVENTS_MS = 2_000

/** The adapters to Kubernetes: imports, events, service-account tokens, references and synced Secrets. */
export type Cluster = {
  imports: ImportSource
  notifier: Notifier
  tokenSource: TokenSource
  references: References
  secretSync: SecretSync
  /** kubelet sends volumes from now on. */
  onRegistered(): void
  /** The reason why imports cannot be read yet; undefined once they can. */
  waitsFor(): string | undefined
  close(): Promise<void>
}

type Deps = {
  config: Config
  log: Log
  clock: Clock
  /** Validates imports; defaults to parseImport in this process. */
  validate?: ValidateImport
}

/** @throws FaultError imports_unavailable when --imports=kube finds no API server */
export function connectCluster(deps: Deps): Promise<Cluster> {
  return deps.config.imports.kind === 'dir' ? directory(deps.config.imports.path, deps) : apiServer(deps)
}

/** Imports from a directory, without an API server. */
async function directory(path: string, { log, clock, validate }: Deps): Promise<Cluster> {
  const imports = createDirImports({ path, log, clock, ...(validate && { validate }) })
  return {
    imports,
    notifier: createLogNotifier(log),
    tokenSource: { request: async () => undefined },
    references: noReferences,
    secretSync: noSecretSync,
    onRegistered: () => undefined,
    waitsFor: () => undefined,
    close: () => imports.close(),
  }
}

/** Imported dynamically: a node without an API server needs none of these modules. */
async function apiServer({ config, log, clock, validate }: Deps): Promise<Cluster> {
  const [
    { loadConnection },
    { createKubeClient },
    { createKubeImports },
    { createImportStatus },
    { createKubeNotifier },
    { createTokenRequests },
    { createKubeReferences },
    { createKubeSecretSync },
    { createTaintRemover },
  ] = await Promise.all([
    import('../kube/load.ts'),
    import('../kube/client.ts'),
    import('../kube/imports.ts'),
    import('../kube/import-status.ts'),
    import('../kube/events.ts'),
    import('../kube/tokens.ts'),
    import('../kube/references.ts'),
    import('../kube/secret-sync.ts'),
    import('../kube/taint.ts'),
  ])
  const client = createKubeClient({ connection: loadConnection({ clock, env: process.env }), clock })
  const status = createImportStatus({ client, log, clock })
  const imports = createKubeImports({
    client,
    log,
    clock,
    ...(validate && { validate }),
    onValidated: status.report,
    onForgotten: status.forget,
  })
  const { driverName, nodeId, removeStartupTaint: key } = config
  const closing = new AbortController()
  const notifier = createKubeNotifier({ client, log, clock, driverName, nodeId })
  return {
    imports,
    notifier,
    tokenSource: createTokenRequests({ client, clock }),
    references: createKubeReferences({ client, clock }),
    secretSync: createKubeSecretSync({ client, clock, log, driverName, nodeId }),
    onRegistered() {
      if (key === undefined) return
      // In the background; it ends after some minutes at the latest.
      createTaintRemover({ client, clock, log, nodeId, key })
        .remove(closing.signal)
        .catch(() => undefined)
    },
    waitsFor: () =>
      imports.synced() ? undefined : 'the first answer of the API server about SecretsStoreImports',
    async close() {
      closing.abort()
      status.close()
      await notifier.close(AbortSignal.timeout(LAST_EVENTS_MS))
      await imports.close()
      client.close()
    },
  }
}

const noReferences: References = {
  async caCert(namespace, { kind, name }) {
    throw new FaultError('reference_unavailable', {
      field: 'spec.caCertRef',
      reason: `${kind} "${namespace}/${name}": with --imports=dir there is no API server`,
      setting: '--imports=kube, or write spec.caCert instead',
    })
  },
  async secretId(namespace, { name }) {
    throw new FaultError('reference_unavailable', {
      field: 'spec.appRole.secretIdRef',
      reason: `Secret "${namespace}/${name}": with --imports=dir there is no API server`,
      setting: '--imports=kube',
    })
  },
}

const noSecretSync: SecretSync = {
  async sync([first]) {
    if (first === undefined) return
    throw new FaultError('sync_unavailable', {
      secret: `${first.namespace}/${first.name}`,
      reason: 'with --imports=dir there is no API server',
      setting: '--imports=kube, or leave spec.secretSync out of the import',
    })
  },
}
