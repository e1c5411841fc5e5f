import { isDeepStrictEqual } from 'node:util'
import { FaultError } from '../core/faults/fault.ts'
import type { ImportSpec } from '../core/imports/import.ts'
import type { Log } from '../core/ports/log.ts'
import type { ValidateImport } from '../core/ports/sandbox.ts'
import { describeError, fieldOf } from './failure.ts'
import type { ImportRef } from './import-calls.ts'

/** Of what is wrong with one import, in memory, logs and messages. */
const MOST_FAULTS = 50
const LONGEST_FAULT = 500
const LONGEST_REASON = 4096

/** kept: the object is faulty now, its last good state stays in force. */
type State =
  | { state: 'absent' }
  | { state: 'good'; spec: ImportSpec }
  | { state: 'kept'; spec: ImportSpec; faults: readonly string[] }
  | { state: 'bad'; faults: readonly string[] }

/** One import as it was last heard of. */
export type JudgedImport = {
  /**
   * Takes the import as it is now; undefined: it is gone. Judged is only what was not judged before.
   * @returns whether that could be done; if not, the same manifest is worth another try later
   * @throws the signal's reason alone
   */
  put(manifest: unknown, signal: AbortSignal): Promise<boolean>
  /** Nothing can be made of it: so the import has this fault. */
  spoil(fault: string): void
  /** The spec in force, undefined when there is no such import. @throws FaultError import_invalid */
  get(): ImportSpec | undefined
}

/**
 * @param deps.onChange called when the spec in force became another one, came or went
 * @param deps.onJudged called for each manifest that comes, with its faults
 */
export function createJudgedImport(deps: {
  ref: ImportRef
  log: Log
  judge: ValidateImport
  onChange: () => void
  onJudged: (manifest: unknown, faults: readonly string[]) => void
}): JudgedImport {
  const { ref, log, judge, onChange, onJudged } = deps
  const fields = { namespace: ref.namespace, importName: ref.name }
  let state: State = { state: 'absent' }
  /** Which edition of the object `state` is about; undefined: none that can be told from others. */
  let edition: string | undefined
  let isNew = true

  function take(after: State): void {
    const before = state
    state = after
    tellFaults(before, after)
    const wasNew = isNew
    isNew = false
    if (specOf(before) === specOf(after)) return
    if (after.state === 'absent') log.info(fields, 'import deleted')
    else log.info(fields, wasNew ? 'import followed' : 'import changed')
    if (!wasNew) onChange()
  }

  function tellFaults(before: State, after: State): void {
    if (after.state !== 'kept' && after.state !== 'bad') return
    const isTold = (before.state === 'kept' || before.state === 'bad') && isSame(before.faults, after.faults)
    if (isTold) return
    const message =
      after.state === 'kept' ? 'import became faulty, the last good one stays in force' : 'faulty import'
    log.error({ ...fields, faults: after.faults }, message)
  }

  function takeFaults(found: readonly string[]): readonly string[] {
    const faults = bounded(found)
    const spec = specOf(state)
    take(spec === undefined ? { state: 'bad', faults } : { state: 'kept', spec, faults })
    return faults
  }

  function takeSpec(spec: ImportSpec): void {
    const before = specOf(state)
    // The same object for as long as it says the same: whoever holds it sees at a glance that nothing changed.
    take({ state: 'good', spec: before !== undefined && isDeepStrictEqual(before, spec) ? before : spec })
  }

  function faultsNow(): readonly string[] {
    return state.state === 'kept' || state.state === 'bad' ? state.faults : []
  }

  return {
    async put(manifest, signal) {
      if (manifest === undefined) {
        edition = undefined
        take({ state: 'absent' })
        return true
      }
      const now = editionOf(manifest)
      // Labels and conditions change, and the same object comes again with every look.
      if (now !== undefined && now === edition) {
        onJudged(manifest, faultsNow())
        return true
      }
      const parsed = await judge(manifest, ref.namespace, signal).catch((error: unknown) => {
        signal.throwIfAborted()
        return { error: describeError(error) }
      })
      if ('error' in parsed) {
        edition = undefined
        takeFaults([`it could not be judged: ${parsed.error}`])
        return false
      }
      edition = now
      if ('spec' in parsed) takeSpec(parsed.spec)
      else takeFaults(parsed.faults)
      onJudged(manifest, faultsNow())
      return true
    },
    spoil(fault) {
      edition = undefined
      takeFaults([fault])
    },
    get() {
      if (state.state === 'bad') {
        const reason = state.faults.join('; ').slice(0, LONGEST_REASON)
        throw new FaultError('import_invalid', { importName: ref.name, podNamespace: ref.namespace, reason })
      }
      return specOf(state)
    },
  }
}

/** The API server counts generations of the spec; one that was made anew begins at 1 again. */
function editionOf(manifest: unknown): string | undefined {
  const metadata = fieldOf(manifest, 'metadata')
  const uid = fieldOf(metadata, 'uid')
  const generation = fieldOf(metadata, 'generation')
  return typeof uid === 'string' && typeof generation === 'number' ? `${uid} ${generation}` : undefined
}

function specOf(state: State): ImportSpec | undefined {
  return state.state === 'good' || state.state === 'kept' ? state.spec : undefined
}

function bounded(faults: readonly string[]): readonly string[] {
  const shown = faults
    .slice(0, MOST_FAULTS)
    .map((fault) => (fault.length > LONGEST_FAULT ? `${fault.slice(0, LONGEST_FAULT)}…` : fault))
  const more = faults.length - shown.length
  return more > 0 ? [...shown, `and ${more} more`] : shown
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, index) => text === other[index])
}
