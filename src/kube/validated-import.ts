import type { ImportSpec } from '../core/imports/import.ts'
import {
  faultsOf,
  type ImportState,
  invalidImport,
  nextImportState,
  notValidated,
  specInForce,
} from '../core/imports/last-good-import.ts'
import type { Log } from '../core/ports/log.ts'
import type { ValidateImport } from '../core/ports/sandbox.ts'
import { describeError, fieldOf } from './failure.ts'
import type { ImportRef } from './import-calls.ts'

/** One import in its latest known version. */
export type ValidatedImport = {
  /**
   * Takes the current manifest; undefined: the import was deleted. An edition that was validated is not validated again.
   * @returns false when validation itself failed: the same manifest is worth another try later
   * @throws the signal's reason, and nothing else
   */
  update(manifest: unknown, signal: AbortSignal): Promise<boolean>
  /** The import cannot be read, for this reason. */
  setFault(fault: string): void
  /** The spec in force, undefined when there is no such import. @throws FaultError import_invalid */
  get(): ImportSpec | undefined
}

/**
 * @param deps.onChange called when the spec in force changed, appeared or was deleted
 * @param deps.onValidated called for each manifest that arrives, with its faults
 */
export function createValidatedImport(deps: {
  ref: ImportRef
  log: Log
  validate: ValidateImport
  onChange: () => void
  onValidated: (manifest: unknown, faults: readonly string[]) => void
}): ValidatedImport {
  const { ref, log, validate, onChange, onValidated } = deps
  const fields = { namespace: ref.namespace, importName: ref.name }
  /** Undefined: there is no such import. */
  let state: ImportState | undefined
  /** The edition of the object that `state` is about; undefined when it is not known. */
  let edition: string | undefined
  let isNew = true

  function setState(after: ImportState | undefined): void {
    const before = state
    state = after
    logFaults(before, after)
    const wasNew = isNew
    isNew = false
    if (specInForce(before) === specInForce(after)) return
    if (after === undefined) log.info(fields, 'import deleted')
    else log.info(fields, wasNew ? 'import followed' : 'import changed')
    if (!wasNew) onChange()
  }

  function logFaults(before: ImportState | undefined, after: ImportState | undefined): void {
    const faults = faultsOf(after)
    if (faults.length === 0 || isSame(faultsOf(before), faults)) return
    const message =
      after?.state === 'lastGood' ? 'import became faulty, the last good one stays in force' : 'faulty import'
    log.error({ ...fields, faults }, message)
  }

  return {
    async update(manifest, signal) {
      if (manifest === undefined) {
        edition = undefined
        setState(undefined)
        return true
      }
      const current = editionOf(manifest)
      // A change of labels or conditions, or another read, brings the same edition again.
      if (current !== undefined && current === edition) {
        onValidated(manifest, faultsOf(state))
        return true
      }
      const parsed = await validate(manifest, ref.namespace, signal).catch((error: unknown) => {
        signal.throwIfAborted()
        return { error: describeError(error) }
      })
      if ('error' in parsed) {
        edition = undefined
        setState(nextImportState(state, notValidated(parsed.error)))
        return false
      }
      edition = current
      setState(nextImportState(state, parsed))
      onValidated(manifest, faultsOf(state))
      return true
    },
    setFault(fault) {
      edition = undefined
      setState(nextImportState(state, { faults: [fault] }))
    },
    get() {
      if (state?.state === 'invalid') throw invalidImport(ref, state.faults)
      return specInForce(state)
    },
  }
}

/** The API server counts generations of the spec; those of an import that was deleted and created again begin at 1. */
function editionOf(manifest: unknown): string | undefined {
  const metadata = fieldOf(manifest, 'metadata')
  const uid = fieldOf(metadata, 'uid')
  const generation = fieldOf(metadata, 'generation')
  return typeof uid === 'string' && typeof generation === 'number' ? `${uid} ${generation}` : undefined
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, index) => text === other[index])
}
