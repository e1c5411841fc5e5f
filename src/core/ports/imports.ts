import type { ImportSpec } from '../imports/import.ts'

/**
 * Where imports come from: a directory or the API server. Only imports that volumes of this node use are read, validated
 * and followed: others cost nothing.
 */
export type ImportSource = {
  /**
   * The current spec, the same object for as long as it does not change. The import is followed from the first call
   * until `forget`.
   * @throws FaultError import_not_found (naming the imports that exist), import_invalid, imports_unavailable; the
   * signal's reason
   */
  get(namespace: string, name: string, signal: AbortSignal): Promise<ImportSpec>
  /** No volume of this node uses the import any more. Idempotent. */
  forget(namespace: string, name: string): void
  /** Called for every followed import that changed or was deleted. */
  onChange(listener: (namespace: string, name: string) => void): void
  /** Resolves once imports can be read, or after some seconds while the API server is down. */
  start(signal: AbortSignal): Promise<void>
  close(): Promise<void>
}
