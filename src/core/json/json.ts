import { JsonReader } from './reader.ts'
import type { Json, JsonNumber } from './types.ts'

// Node 24's V8 has it; TypeScript's lib does not know it yet.
const { isRawJSON } = JSON as unknown as { isRawJSON(value: unknown): value is JsonNumber }

/**
 * Parses JSON and keeps every number's literal text: 9007199254740993 and 1.10 survive.
 * JSON.parse validates the text and JsonReader builds the value: a reviver with access to the literals would block the
 * process for seconds on a large response.
 * @throws SyntaxError, whose message may quote the text: never pass it on; RangeError for thousands of levels
 */
export function parseJson(text: string): Json {
  JSON.parse(text)
  return new JsonReader(text).value()
}

/** Compact JSON with the literal text of every number. */
export function stringifyJson(value: Json): string {
  return JSON.stringify(value)
}

export function isJsonNumber(value: Json | undefined): value is JsonNumber {
  return isRawJSON(value)
}

/** A JSON number as a JavaScript number, for lease durations and versions; undefined for anything else. */
export function jsonToNumber(value: Json | undefined): number | undefined {
  return isJsonNumber(value) ? Number(value.rawJSON) : undefined
}

export function isJsonObject(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isJsonNumber(value)
}
