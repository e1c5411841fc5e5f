import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { NAMESPACE } from '../vault/real-vault.ts'

/** A directory for `--imports dir:PATH`. */
export type ImportsFolder = {
  path: string
  /** Writes `spec` as the import `name` of namespace `shop`, in a file of that name. False: it stood there already. */
  write(name: string, spec: object): boolean
  /** The raw text of a file; undefined deletes it. */
  writeFile(file: string, text: string | undefined): void
}

export function createImportsFolder(path: string): ImportsFolder {
  mkdirSync(path)

  function writeFile(file: string, text: string | undefined): void {
    const place = join(path, file)
    if (text === undefined) {
      rmSync(place)
      return
    }
    // In one step, as careful tools do: the plugin must not meet half a manifest.
    writeFileSync(`${place}.draft`, text)
    renameSync(`${place}.draft`, place)
  }

  return {
    path,
    writeFile,
    write(name, spec) {
      const metadata = { name, namespace: NAMESPACE }
      const manifest = { apiVersion: 'deckhouse.io/v1alpha1', kind: 'SecretsStoreImport', metadata, spec }
      const text = JSON.stringify(manifest)
      const place = join(path, `${name}.json`)
      if (existsSync(place) && readFileSync(place, 'utf8') === text) return false
      writeFile(`${name}.json`, text)
      return true
    },
  }
}
