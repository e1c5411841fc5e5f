import type { Json, JsonNumber } from './ports.ts'

// Node 24's V8 has JSON.parse with source text and JSON.rawJSON; TypeScript's lib does not know them yet.
type SourceTextReviver = (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown
const parseWithSource = JSON.parse as (text: string, reviver: SourceTextReviver) => unknown
const { rawJSON, isRawJSON } = JSON as unknown as {
  rawJSON(text: string): JsonNumber
  isRawJSON(value: unknown): value is JsonNumber
}

/**
 * Parses JSON and keeps every number's literal text: 9007199254740993 and 1.10 survive.
 * @throws SyntaxError whose message may quote the text: never pass it on
 */
export function parseJson(text: string): Json {
  return parseWithSource(text, (_key, value, context) =>
    typeof value === 'number' && context.source !== undefined ? rawJSON(context.source) : value,
  ) as Json
}

/** Compact JSON with numbers as they came. */
export function stringifyJson(value: Json): string {
  return JSON.stringify(value)
}

export function isJsonNumber(value: Json | undefined): value is JsonNumber {
  return isRawJSON(value)
}

/** A JSON number as a JavaScript number, for leases and versions; undefined for anything else. */
export function jsonToNumber(value: Json | undefined): number | undefined {
  return isJsonNumber(value) ? Number(value.rawJSON) : undefined
}

export function isJsonObject(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isJsonNumber(value)
}
