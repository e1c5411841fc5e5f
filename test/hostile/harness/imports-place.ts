import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ApiServer, IMPORTS } from './api-server.ts'

/** A place to write imports, and the plugin's flags to read them from there. */
export type ImportsPlace = {
  args: readonly string[]
  env: Readonly<Record<string, string>>
  /** @throws Error of an API server that refuses it */
  write(namespace: string, name: string, spec: object): Promise<void>
  remove(namespace: string, name: string): Promise<void>
  /** The text of a manifest file as it is; undefined deletes it. */
  writeText(file: string, text: string | undefined): void
}

export function importsInDirectory(path: string): ImportsPlace {
  mkdirSync(path)
  const place: ImportsPlace = {
    args: [`--imports=dir:${path}`],
    env: {},
    async write(namespace, name, spec) {
      place.writeText(`${namespace}-${name}.json`, manifest(namespace, name, spec))
    },
    async remove(namespace, name) {
      place.writeText(`${namespace}-${name}.json`, undefined)
    },
    writeText(file, text) {
      if (text === undefined) rmSync(join(path, file), { force: true })
      else writeFileSync(join(path, file), text)
    },
  }
  return place
}

export function importsInCluster(api: ApiServer): ImportsPlace {
  const listOf = (namespace: string) => `${IMPORTS}/namespaces/${namespace}/secretsstoreimports`
  const known = new Set<string>()
  return {
    args: ['--imports=kube'],
    env: { KUBECONFIG: api.kubeconfig },
    async write(namespace, name, spec) {
      const path = `${listOf(namespace)}/${name}`
      const body = JSON.parse(manifest(namespace, name, spec)) as { metadata: object }
      if (!known.has(path)) {
        await api.call('POST', listOf(namespace), body)
        known.add(path)
        return
      }
      const found = (await api.call('GET', path)) as { metadata: object }
      await api.call('PUT', path, { ...body, metadata: found.metadata })
    },
    async remove(namespace, name) {
      const path = `${listOf(namespace)}/${name}`
      known.delete(path)
      await api.call('DELETE', path)
    },
    writeText() {
      throw new Error('the API server takes no text')
    },
  }
}

export function manifest(namespace: string, name: string, spec: object): string {
  const metadata = { name, namespace }
  return JSON.stringify({ apiVersion: 'deckhouse.io/v1alpha1', kind: 'SecretsStoreImport', metadata, spec })
}
