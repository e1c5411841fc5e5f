import { FaultError } from '../faults/fault.ts'
import type { SecretData } from '../ports/vault.ts'
import { isJsonObject, jsonToNumber, parseJson, stringifyJson } from './json.ts'
import type { Json } from './types.ts'
import { toValues } from './value.ts'

/** Keys of one response: each is visited many times, and a usual secret has a few dozen. */
const MAX_KEYS = 4096

type JsonObject = { [key: string]: Json }

/** The secret in a response. */
export type ResponseData = Pick<SecretData, 'values' | 'version'>

/** A parsed response: `data` is the secret, `rest` the JSON of the other members. */
export type ParsedResponse = { data: ResponseData | undefined; rest: string }

/**
 * Parses a large response where it does not delay other work.
 * @param namespace Kubernetes namespace of the pod that the request was for
 * @returns undefined when the body is not JSON
 * @throws FaultError import_too_large; the signal's reason
 */
export type ParseResponse = (
  bytes: Buffer,
  namespace: string,
  signal: AbortSignal | undefined,
) => Promise<ParsedResponse | undefined>

/** @returns undefined when the text is not JSON @throws FaultError import_too_large */
export function parseResponse(text: string): ParsedResponse | undefined {
  const body = parseIfJson(text)
  if (body === undefined) return undefined
  const data = readResponseData(body)
  // Without data, `rest` is the whole body.
  const rest = data && isJsonObject(body) ? { ...body, data: {} } : body
  return { data, rest: stringifyJson(rest) }
}

function parseIfJson(text: string): Json | undefined {
  try {
    return parseJson(text)
  } catch {
    // The SyntaxError quotes the text, which may be a secret: do not pass it on.
    return undefined
  }
}

/** The secret in a parsed body; undefined when it has none. @throws FaultError import_too_large */
export function readResponseData(body: Json | undefined): ResponseData | undefined {
  const data = isJsonObject(body) ? body.data : undefined
  if (!isJsonObject(data)) return undefined
  if (!isVersioned(data)) return { values: valuesOf(data), version: undefined }
  return { values: valuesOf(data.data), version: jsonToNumber(data.metadata.version) }
}

/** KV v2 wraps the secret in data and metadata. A KV v1 secret with more keys than these two is not versioned. */
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
