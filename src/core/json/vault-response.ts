import { FaultError } from '../faults/fault.ts'
import type { SecretData } from '../ports/vault.ts'
import { isJsonObject, jsonToNumber, parseJson, stringifyJson } from './json.ts'
import type { Json } from './types.ts'
import { toValues } from './value.ts'

/** Keys of one answer: each is looked at many times, and an honest secret has some dozens. */
const MAX_KEYS = 4096

type JsonObject = { [key: string]: Json }

/** What an answer holds of a secret. */
export type ResponseData = Pick<SecretData, 'values' | 'version'>

/** A large answer, taken apart: `held` is its data, `rest` the JSON of all that stands beside it. */
export type ParsedResponse = { data: ResponseData | undefined; rest: string }

/**
 * Takes a large answer apart where it holds up nobody.
 * @param namespace Kubernetes namespace for whose pod Vault was asked
 * @returns undefined for what is not JSON
 * @throws FaultError import_too_large; the signal's reason
 */
export type ParseResponse = (
  bytes: Buffer,
  namespace: string,
  signal: AbortSignal | undefined,
) => Promise<ParsedResponse | undefined>

/** @returns undefined for what is not JSON @throws FaultError import_too_large */
export function parseResponse(text: string): ParsedResponse | undefined {
  const body = parsed(text)
  if (body === undefined) return undefined
  const data = readResponseData(body)
  // A body without data of its own is told by the rest, which is then all of it.
  const rest = data && isJsonObject(body) ? { ...body, data: {} } : body
  return { data, rest: stringifyJson(rest) }
}

function parsed(text: string): Json | undefined {
  try {
    return parseJson(text)
  } catch {
    // The SyntaxError quotes the text, which may be a secret: it goes no further.
    return undefined
  }
}

/** The data of an answer; undefined when it has none. @throws FaultError import_too_large */
export function readResponseData(body: Json | undefined): ResponseData | undefined {
  const data = isJsonObject(body) ? body.data : undefined
  if (!isJsonObject(data)) return undefined
  if (!isVersioned(data)) return { values: valuesOf(data), version: undefined }
  return { values: valuesOf(data.data), version: jsonToNumber(data.metadata.version) }
}

/** KV v2 wraps what was stored; a KV v1 secret with keys of these names and others beside them is not meant. */
function isVersioned(data: JsonObject): data is { data: JsonObject; metadata: JsonObject } {
  return isJsonObject(data.data) && isJsonObject(data.metadata) && Object.keys(data).length === 2
}

function valuesOf(object: JsonObject): SecretData['values'] {
  const count = Object.keys(object).length
  if (count <= MAX_KEYS) return toValues(object)
  throw new FaultError('import_too_large', {
    reason: `Vault's answer has ${count} keys, and ${MAX_KEYS} are read`,
    setting: 'keep the secret at several paths',
  })
}
