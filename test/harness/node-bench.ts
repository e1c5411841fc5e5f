import type { FaultError } from '../../src/core/faults/fault.ts'
import type { ImportSpec } from '../../src/core/imports/import.ts'
import type { SyncedSecret, TokenSource } from '../../src/core/ports/kubernetes.ts'
import type { PublishRequest } from '../../src/core/ports/node.ts'
import type { ServiceAccountToken } from '../../src/core/ports/pod.ts'
import { SecretText } from '../../src/core/secret.ts'
import type { Config } from '../../src/core/settings/config.ts'
import { createNode, type Node } from '../../src/node/node.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeImports, importSpec } from '../fakes/imports.ts'
import { FakeIssuer } from '../fakes/issuer.ts'
import { FakeLog } from '../fakes/log.ts'
import { FakeMeter } from '../fakes/meter.ts'
import { FakeLedger, FakeNode } from '../fakes/node.ts'
import { FakeNotifier } from '../fakes/notifier.ts'
import { FakeSandbox } from '../fakes/sandbox.ts'
import { FakeSecretStore } from '../fakes/secret-store.ts'

export const PATH = 'secret/data/database-for-python-app'
export const MINUTE = 60_000

/** The whole node over fakes; `restart()` is a new process over the same node, ledger and Vault. */
export class NodeBench {
  readonly clock = new FakeClock()
  readonly imports = new FakeImports()
  readonly store = new FakeSecretStore()
  readonly node = new FakeNode()
  readonly issuer = new FakeIssuer(this.clock)
  readonly leaseStore = this.node.leaseStore
  readonly ledger = new FakeLedger()
  readonly log = new FakeLog()
  readonly meter = new FakeMeter()
  readonly notifier = new FakeNotifier()
  readonly sandbox = new FakeSandbox()
  readonly signal = new AbortController().signal
  /** From 0 to under 1; the same every time unless a test says otherwise. */
  random = () => 0.5
  /** Tokens of an API server; requested audiences are recorded. */
  readonly requested: string[] = []
  readonly tokenSource: TokenSource = {
    request: async (_pod, audience) => {
      this.requested.push(audience)
      return audience === 'unknown' ? undefined : this.token()
    },
  }
  /** CAs behind caCertRef, by the object's name. */
  readonly caCerts = new Map<string, string>()
  /** Lets a test hold the API server's answer back. */
  caCert = async (name: string): Promise<string> => this.caCerts.get(name) ?? 'PEM'
  /** Secret IDs of AppRoles, by the Secret's name; each time one was read. */
  readonly secretIds = new Map<string, string>()
  readonly secretIdsRead: string[] = []
  failSecretIdWith: FaultError | undefined
  /** Every sync of Kubernetes Secrets. */
  readonly synced: (readonly SyncedSecret[])[] = []
  failSyncWith: FaultError | undefined
  readonly #settings: Partial<Config>
  service: Node

  constructor(spec: Partial<ImportSpec> = {}, settings: Partial<Config> = {}) {
    this.#settings = settings
    this.imports.put(importSpec(spec))
    this.setPassword('one')
    this.service = this.#create()
  }

  setPassword(password: string): void {
    this.store.data.set(PATH, { password })
  }

  publish(over: Partial<PublishRequest> = {}): Promise<void> {
    return this.service.publish(this.request(over), this.signal)
  }

  unpublish(volumeId = 'volume-1', targetPath = `/pods/${volumeId}/mount`): Promise<void> {
    return this.service.unpublish({ volumeId, targetPath }, this.signal)
  }

  request(over: Partial<PublishRequest> = {}): PublishRequest {
    const volumeId = over.volumeId ?? 'volume-1'
    return {
      volumeId,
      targetPath: `/pods/${volumeId}/mount`,
      readOnly: true,
      fsGroup: undefined,
      pod: {
        name: 'backend',
        namespace: 'my-namespace1',
        uid: `uid-${volumeId}`,
        serviceAccount: 'backend-sa',
      },
      importName: 'python-backend',
      tokens: new Map([['', this.token()]]),
      fingerprint: 'same',
      ...over,
    }
  }

  token(): ServiceAccountToken {
    return { token: new SecretText('jwt'), expiresAt: this.clock.now() + 60 * MINUTE }
  }

  content(volumeId = 'volume-1', name = 'db-password'): string | undefined {
    return this.node.mounts.get(`/pods/${volumeId}/mount`)?.get(name)
  }

  /** The process is killed: none of its timers runs any more, and a new one resumes. */
  async kill(): Promise<void> {
    this.clock.forget()
    this.service = this.#create()
    await this.service.resume()
  }

  async restart(): Promise<void> {
    await this.service.stop()
    this.service = this.#create()
    await this.service.resume()
  }

  #create(): Node {
    const { clock, imports, store, issuer, leaseStore, node, ledger, log, meter, notifier } = this
    return createNode({
      settings: settings(this.#settings),
      clock,
      random: () => this.random(),
      log,
      meter,
      notifier,
      imports,
      store,
      issuer,
      leaseStore,
      secretSync: {
        sync: async (secrets) => {
          this.synced.push(secrets)
          if (this.failSyncWith) throw this.failSyncWith
        },
      },
      tokenSource: this.tokenSource,
      references: {
        caCert: (_namespace, ref) => this.caCert(ref.name),
        secretId: async (_namespace, ref) => {
          this.secretIdsRead.push(ref.name)
          if (this.failSecretIdWith) throw this.failSecretIdWith
          return new SecretText(this.secretIds.get(ref.name) ?? 'secret-id')
        },
      },
      mounter: node.mounter,
      files: node.files,
      ledger,
      statsOf: () => ({
        bytes: { total: 1 << 20, used: 1, available: 3 },
        inodes: { total: 4, used: 1, available: 3 },
      }),
      sandbox: this.sandbox,
    })
  }
}

export function settings(over: Partial<Config> = {}): Config {
  return {
    endpoint: 'unix:///csi/csi.sock',
    nodeId: 'node1',
    driverName: 'secrets-store.csi.deckhouse.io',
    registrationSocket: undefined,
    kubeletEndpoint: '/csi/csi.sock',
    removeStartupTaint: undefined,
    stateDir: '/run/vault-files-csi',
    imports: { kind: 'dir', path: '/imports' },
    vaultAddr: 'https://vault.example.org',
    vaultAuthPath: 'kubernetes',
    vaultNamespace: '',
    vaultCaCert: undefined,
    vaultSkipVerify: false,
    rotationIntervalMs: 2 * MINUTE,
    minRefreshIntervalMs: 10_000,
    vaultQps: 50,
    vaultConcurrency: 16,
    httpAddr: undefined,
    httpTlsCert: undefined,
    httpTlsKey: undefined,
    httpClientCa: undefined,
    allowAddress: [],
    allowHttp: false,
    allowSkipVerify: false,
    allowTokenExport: false,
    allowSecretSync: false,
    maxVolumeBytes: 4 << 20,
    maxNodeBytes: 256 << 20,
    maxNamespaceBytes: 128 << 20,
    logLevel: 'info',
    logFormat: 'json',
    ...over,
  }
}

/** A repeatable stream of numbers from 0 to under 1 (a linear congruential generator). */
export function seededRandom(seed = 1): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
}
