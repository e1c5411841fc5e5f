import type { ClusterApi } from './cluster-api.ts'

/** Calls under way at once, over as many connections that are kept. */
const AT_ONCE = 16
const NAMESPACES = 20

/** Imports that no pod of the node uses, spread over namespaces. */
export type ManyImports = {
  /** Makes them until there are so many. */
  growTo(count: number): Promise<void>
  /** Changes the role of so many, one each. */
  edit(count: number): Promise<void>
  /** Deletes their namespaces: the cluster removes the imports in the background, in minutes if they are many. */
  remove(): Promise<void>
}

/** @param prefix of their namespaces */
export async function createManyImports(api: ClusterApi, prefix: string): Promise<ManyImports> {
  const namespaces = Array.from({ length: NAMESPACES }, (_, index) => `${prefix}-${index}`)
  let made = 0
  await all(namespaces, (name) => api.create('/api/v1/namespaces', { metadata: { name } }))

  const folderOf = (index: number) =>
    `/apis/deckhouse.io/v1alpha1/namespaces/${namespaces[index % NAMESPACES]}/secretsstoreimports`

  return {
    async growTo(count) {
      const indexes = Array.from({ length: count - made }, (_, index) => made + index)
      made = count
      await all(indexes, (index) => api.create(folderOf(index), manifest(index)))
    },
    async edit(count) {
      const indexes = Array.from({ length: count }, (_, index) => index)
      await all(indexes, (index) =>
        api.patch(`${folderOf(index)}/import-${index}`, { spec: { role: `edited-${Date.now()}` } }),
      )
    },
    async remove() {
      await all(namespaces, (name) => api.remove(`/api/v1/namespaces/${name}`))
    },
  }
}

/** As teams write them: nine files, one of them a template. */
function manifest(index: number): object {
  const source = { path: `secret/data/team-${index}/app` }
  const files = Array.from({ length: 8 }, (_, file) => ({
    name: `file-${file}`,
    source: { ...source, key: `key-${file}` },
  }))
  const template = 'postgres://{{ user }}:{{ password | url_encode }}@db/{{ name | upcase }}'
  return {
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { name: `import-${index}` },
    spec: { role: `role-${index}`, files: [...files, { name: 'dsn', source, template }] },
  }
}

async function all<T>(
  items: readonly T[],
  task: (item: T, index: number) => Promise<unknown>,
): Promise<void> {
  const left = items.entries()
  const work = async () => {
    for (const [index, item] of left) await task(item, index)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
}
