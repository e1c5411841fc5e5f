import type { ImportSpec, ParsedImport } from '../imports/import.ts'
import type { ParseResponse } from '../json/vault-response.ts'
import type { Answers } from '../render/answers.ts'
import type { RenderedFile, VolumeShape } from './volume.ts'

/**
 * Checks a manifest as parseImport does.
 * @param namespace whose turn it takes
 */
export type ValidateImport = (
  manifest: unknown,
  namespace: string,
  signal: AbortSignal,
) => Promise<ParsedImport>

/**
 * Where the work is done that tenants can make long or large: not where pods of all tenants are served. Turns go
 * between Kubernetes namespaces.
 * All three reject with FaultError import_too_large whose `endedBy` is set when the work took more than it may, which
 * may pass; with FaultError internal when there is no place to do it; with the signal's reason.
 */
export type Sandbox = {
  validateImport: ValidateImport
  /**
   * Makes the files of an import as renderFiles does, and no more of them than the volume holds.
   * @throws FaultError as renderFiles
   */
  render(
    spec: ImportSpec,
    answers: Answers,
    volume: VolumeShape,
    signal: AbortSignal,
  ): Promise<RenderedFile[]>
  /** Takes a large answer of Vault apart. @throws FaultError import_too_large */
  parseResponse: ParseResponse
  /** Ends what is under way, which rejects. */
  close(): void
}
