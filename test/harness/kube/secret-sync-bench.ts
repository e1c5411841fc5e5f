import type { Test } from 'tap'
import type { SecretSync, SyncedSecret } from '../../../src/core/ports/kubernetes.ts'
import type { Pod } from '../../../src/core/ports/pod.ts'
import { SecretBytes } from '../../../src/core/secret.ts'
import { createKubeSecretSync } from '../../../src/kube/secret-sync.ts'
import { FakeClock } from '../../fakes/clock.ts'
import { FakeKubeApi } from '../../fakes/kube-api.ts'
import { FakeLog } from '../../fakes/log.ts'

export const DRIVER = 'd.example.org'
/** Of the Secret that tests want, by namespace/name. */
export const ID = 'shop/app-secret'

export const never = new AbortController().signal

/** An API server and one SecretSync for each node of `nodes`. */
export async function secretSyncBench<Node extends string>(t: Test, ...nodes: readonly Node[]) {
  const api = new FakeKubeApi()
  await api.start()
  const clock = new FakeClock()
  const log = new FakeLog()
  const client = api.client(clock)
  t.teardown(async () => {
    client.close()
    await api.stop()
  })
  // Without a spread the waits between tries are 0: the fake clock need not be moved for them.
  const random = () => 0
  const sleeping = { now: () => clock.now(), monotonic: () => clock.monotonic(), sleep: async () => {} }
  const create = (nodeId: string) =>
    createKubeSecretSync({ client, clock: sleeping, log, driverName: DRIVER, nodeId, random })
  const syncs = Object.fromEntries(nodes.map((node) => [node, create(node)])) as Record<Node, SecretSync>
  /** Numbers of requests by method since the last call. */
  const requests = () => {
    const methods = api.seen.splice(0).map(({ method }) => method)
    return methods.join(' ')
  }
  return { api, store: api.store, clock, log, syncs, requests }
}

export function podNamed(name: string): Pod {
  return { name, namespace: 'shop', uid: `uid-of-${name}`, serviceAccount: 'app' }
}

/** app-secret of import app for pod web-0, with one key. */
export function wantedSecret(
  change: Partial<Omit<SyncedSecret, 'data'>> & { data?: Record<string, string> } = {},
): SyncedSecret {
  const { data = { PASSWORD: 'first canary' }, ...rest } = change
  return {
    namespace: 'shop',
    name: 'app-secret',
    type: 'Opaque',
    deletionPolicy: 'Delete',
    importName: 'app',
    pod: podNamed('web-0'),
    data: new Map(Object.entries(data).map(([key, value]) => [key, SecretBytes.fromText(value)])),
    fetchedAt: Date.UTC(2030, 0, 1),
    isPerVolume: false,
    ...rest,
  }
}
