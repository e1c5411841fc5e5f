import { FaultError } from '../../src/core/faults/fault.ts'
import { isJsonObject, parseJson } from '../../src/core/json/json.ts'
import { toValues } from '../../src/core/json/value.ts'
import type { SecretData } from '../../src/core/ports/vault.ts'

/** What Vault would answer whose data is this JSON. */
export function secretOf(json: string): SecretData {
  const value = parseJson(json)
  return { values: toValues(isJsonObject(value) ? value : {}), version: 1 }
}

/** The fault that `run` throws; anything else is passed on, and nothing is a failure of the test. */
export function faultOf(run: () => unknown): FaultError {
  try {
    run()
  } catch (error) {
    if (error instanceof FaultError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
