import { isDeepStrictEqual } from 'node:util'
import { FaultError } from '../faults/fault.ts'
import type { ImportSpec, ParsedImport } from './import.ts'

/** Of what is wrong with one import, in memory, logs and messages. */
const MOST_FAULTS = 50
const LONGEST_FAULT = 500
const LONGEST_REASON = 4096

/** What a source of imports knows of one. lastGood: its manifest is faulty now, the last valid spec stays in force. */
export type ImportState =
  | { state: 'valid'; spec: ImportSpec }
  | { state: 'lastGood'; spec: ImportSpec; faults: readonly string[] }
  | { state: 'invalid'; faults: readonly string[] }

/** @param before undefined: the import was not known */
export function nextImportState(before: ImportState | undefined, parsed: ParsedImport): ImportState {
  const lastGood = specInForce(before)
  if ('spec' in parsed) {
    // An equal spec stays the same object, so that users of it can compare by identity.
    const isSame = lastGood !== undefined && isDeepStrictEqual(lastGood, parsed.spec)
    return { state: 'valid', spec: isSame ? lastGood : parsed.spec }
  }
  const faults = bounded(parsed.faults)
  return lastGood === undefined ? { state: 'invalid', faults } : { state: 'lastGood', spec: lastGood, faults }
}

export function specInForce(state: ImportState | undefined): ImportSpec | undefined {
  return state === undefined || state.state === 'invalid' ? undefined : state.spec
}

export function faultsOf(state: ImportState | undefined): readonly string[] {
  return state === undefined || state.state === 'valid' ? [] : state.faults
}

/** The outcome for a manifest whose validation failed: the fault is this import's, others must not suffer from it. */
export function notValidated(reason: string): { faults: string[] } {
  return { faults: [`it could not be judged: ${reason}`] }
}

/** The fault of asking for an import that never was valid. */
export function invalidImport(
  { namespace, name }: { namespace: string; name: string },
  faults: readonly string[],
): FaultError {
  const reason = faults.join('; ').slice(0, LONGEST_REASON)
  return new FaultError('import_invalid', { importName: name, podNamespace: namespace, reason })
}

function bounded(faults: readonly string[]): readonly string[] {
  const shown = faults
    .slice(0, MOST_FAULTS)
    .map((fault) => (fault.length > LONGEST_FAULT ? `${fault.slice(0, LONGEST_FAULT)}…` : fault))
  const more = faults.length - shown.length
  return more > 0 ? [...shown, `and ${more} more`] : shown
}
