import type { ImportSpec, ParsedImport } from '../imports/import.ts'
import type { ParseResponse } from '../json/vault-response.ts'
import type { Answers } from '../render/answers.ts'
import type { RenderedFile, VolumeShape } from './volume.ts'

/**
 * Validates a manifest as parseImport does.
 * @param namespace its queue in the sandbox
 */
export type ValidateImport = (
  manifest: unknown,
  namespace: string,
  signal: AbortSignal,
) => Promise<ParsedImport>

/**
 * Runs work that tenants can make long or large outside the process that serves all pods. Kubernetes namespaces are
 * served round-robin.
 * All three reject with FaultError import_too_large whose `endedBy` is set when the work took more than it may, which
 * may be transient; with FaultError internal when the sandbox cannot run; with the signal's reason.
 */
export type Sandbox = {
  validateImport: ValidateImport
  /**
   * Renders the files of an import as renderFiles does, at most as many as fit the volume.
   * @throws FaultError as renderFiles
   */
  render(
    spec: ImportSpec,
    answers: Answers,
    volume: VolumeShape,
    signal: AbortSignal,
  ): Promise<RenderedFile[]>
  /** Parses a large answer of Vault. @throws FaultError import_too_large */
  parseResponse: ParseResponse
  /** Running work is stopped and rejects. */
  close(): void
}
