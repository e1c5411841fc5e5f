import { FaultError } from '../../src/core/faults/fault.ts'
import { readCall } from '../../src/core/imports/calls.ts'
import type { FileSpec, ImportSpec } from '../../src/core/imports/import.ts'
import type { ImportSource } from '../../src/core/ports/imports.ts'

export class FakeImports implements ImportSource {
  readonly #specs = new Map<string, ImportSpec>()
  /** Asked for and not forgotten since, as namespace/name. */
  readonly followed = new Set<string>()
  readonly #listeners: ((namespace: string, name: string) => void)[] = []

  /** Adds or edits an import, as `kubectl apply` does. */
  put(spec: ImportSpec): void {
    this.#specs.set(`${spec.namespace}/${spec.name}`, spec)
    for (const listener of this.#listeners) listener(spec.namespace, spec.name)
  }

  delete(namespace: string, name: string): void {
    this.#specs.delete(`${namespace}/${name}`)
    for (const listener of this.#listeners) listener(namespace, name)
  }

  /** The stored import, for tests that edit it. */
  stored(namespace: string, name: string): ImportSpec {
    const spec = this.#specs.get(`${namespace}/${name}`)
    if (spec === undefined) {
      throw new FaultError('import_not_found', { importName: name, podNamespace: namespace, known: [] })
    }
    return spec
  }

  async get(namespace: string, name: string): Promise<ImportSpec> {
    this.followed.add(`${namespace}/${name}`)
    return this.stored(namespace, name)
  }

  forget(namespace: string, name: string): void {
    this.followed.delete(`${namespace}/${name}`)
  }

  onChange(listener: (namespace: string, name: string) => void): void {
    this.#listeners.push(listener)
  }

  async start(): Promise<void> {}
  async close(): Promise<void> {}
}

/** The import that users' guides use. */
export function importSpec(over: Partial<ImportSpec> = {}): ImportSpec {
  return {
    name: 'python-backend',
    namespace: 'my-namespace1',
    authMethod: 'kubernetes',
    appRole: undefined,
    role: 'my-namespace1_backend',
    authPath: undefined,
    vaultNamespace: undefined,
    address: undefined,
    caCert: undefined,
    caCertRef: undefined,
    tlsServerName: undefined,
    skipTLSVerify: false,
    audience: undefined,
    refreshIntervalMs: undefined,
    updateMode: 'Live',
    missingPolicy: 'Fail',
    defaultMode: undefined,
    files: [fileSpec()],
    dataFrom: [],
    credentials: [],
    secretSync: [],
    ...over,
  }
}

/** @param over.path instead of a call: the latest of what stands there */
export function fileSpec({ path, ...over }: Partial<FileSpec> & { path?: string } = {}): FileSpec {
  return {
    name: 'db-password',
    call: readCall(path ?? 'secret/data/database-for-python-app'),
    key: 'password',
    template: undefined,
    named: [],
    sourceNames: [],
    encoding: 'utf-8',
    mode: undefined,
    optional: false,
    ...over,
  }
}
