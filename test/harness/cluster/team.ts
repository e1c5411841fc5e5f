import { until } from '../until.ts'
import { type AppPod, createPod, type PodWish } from './app-pod.ts'
import { type ClusterApi, connectClusterApi } from './cluster-api.ts'
import { type KubeVault, PATH, ROLE, SERVICE_ACCOUNT, startKubeVault } from './kube-vault.ts'

/** As API.md has it. */
export const NAMESPACE = 'my-namespace1'
/** The file of API.md. */
export const passwordFile = { name: 'db-password', source: { path: PATH, key: 'password' } }

const HERE = `/api/v1/namespaces/${NAMESPACE}`
const IMPORTS = `/apis/deckhouse.io/v1alpha1/namespaces/${NAMESPACE}/secretsstoreimports`

/** What a team of the users has: a namespace, a service account, a role in Vault that is bound to it. */
export type Team = {
  api: ClusterApi
  vault: KubeVault
  /** @param spec by default the one of API.md */
  applyImport(name: string, spec?: object): Promise<void>
  removeImport(name: string): Promise<void>
  createPod(wish: PodWish): Promise<AppPod>
  createServiceAccount(name: string): Promise<void>
  /** Deletes all pods and waits until kubelet has let them go. */
  removePods(): Promise<void>
}

type Teardown = { teardown(task: () => Promise<void> | void): void }

export async function startTeam(t: Teardown): Promise<Team> {
  const api = await connectClusterApi()
  t.teardown(() => api.close())
  const isGone = async () => (await api.get(HERE)) === undefined
  await until('an earlier test to let its namespace go', isGone, { timeoutMs: 180_000, everyMs: 250 })
  await api.create('/api/v1/namespaces', { metadata: { name: NAMESPACE } })
  t.teardown(() => api.remove(HERE))
  const vault = await startKubeVault({ namespace: NAMESPACE, api })
  t.teardown(() => vault.close())

  const team: Team = {
    api,
    vault,
    createPod: (wish) => createPod(api, NAMESPACE, wish),
    removeImport: (name) => api.remove(`${IMPORTS}/${name}`),
    async createServiceAccount(name) {
      await api.create(`${HERE}/serviceaccounts`, { metadata: { name } })
    },
    async applyImport(name, spec = { role: ROLE, files: [passwordFile] }) {
      const body = { apiVersion: 'deckhouse.io/v1alpha1', kind: 'SecretsStoreImport', spec }
      const found = await api.get(`${IMPORTS}/${name}`)
      if (found === undefined) await api.create(IMPORTS, { ...body, metadata: { name } })
      else await api.put(`${IMPORTS}/${name}`, { ...body, metadata: found.metadata })
    },
    async removePods() {
      await api.remove(`${HERE}/pods`)
      const areGone = async () => (await api.get(`${HERE}/pods`)).items.length === 0
      await until('all pods to go', areGone, { timeoutMs: 180_000, everyMs: 250 })
    },
  }
  await team.createServiceAccount(SERVICE_ACCOUNT)
  return team
}
