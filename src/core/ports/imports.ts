import type { ImportSpec } from '../imports/import.ts'

/**
 * Where imports come from: a directory or the API server. Only imports that volumes of this node use are read, judged
 * and followed: what other imports are there costs nothing.
 */
export type ImportSource = {
  /**
   * The import as it is now, the same object for as long as it does not change. From the first call on it is followed,
   * until `forget`.
   * @throws FaultError import_not_found (naming the imports that exist), import_invalid, imports_unavailable; the
   * signal's reason
   */
  get(namespace: string, name: string, signal: AbortSignal): Promise<ImportSpec>
  /** No volume of this node uses the import any more. Idempotent. */
  forget(namespace: string, name: string): void
  /** Calls back for every followed import that changed or went. */
  onChange(listener: (namespace: string, name: string) => void): void
  /** Resolves once imports can be asked for, or after some seconds while the API server is away. */
  start(signal: AbortSignal): Promise<void>
  close(): Promise<void>
}
