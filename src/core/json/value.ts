import { parseJson, stringifyJson } from './json.ts'
import type { Json } from './types.ts'

/** The exact JSON of a value that is not a string. A plain object, because it crosses process boundaries. */
export type JsonText = { readonly json: string }

/** One value as stored in Vault. Only templates address members of JSON, so it is parsed where they run. */
export type Value = string | JsonText

export function toValue(value: Json): Value {
  return typeof value === 'string' ? value : { json: stringifyJson(value) }
}

/** The members of a JSON object, in their order. */
export function toValues(object: { readonly [key: string]: Json }): ReadonlyMap<string, Value> {
  return new Map(Object.entries(object).map(([key, value]) => [key, toValue(value)]))
}

/** The value as file content: a string as it is, anything else as JSON. */
export function textOf(value: Value): string {
  return typeof value === 'string' ? value : value.json
}

/** The value as JSON. */
export function jsonOf(value: Value): string {
  return typeof value === 'string' ? JSON.stringify(value) : value.json
}

export function isNull(value: Value | undefined): boolean {
  return typeof value === 'object' && value.json === 'null'
}

/** @throws SyntaxError and RangeError as parseJson does */
export function parseValue(value: Value): Json {
  return typeof value === 'string' ? value : parseJson(value.json)
}

/** A JSON number as a JavaScript number; undefined for anything else. */
export function valueToNumber(value: Value | undefined): number | undefined {
  const isNumber = typeof value === 'object' && /^-?\d/.test(value.json)
  return isNumber ? Number(value.json) : undefined
}

/** Characters of all keys and values. */
export function sizeOf(values: ReadonlyMap<string, Value>): number {
  let size = 0
  for (const [key, value] of values) {
    size += key.length + (typeof value === 'string' ? value.length : value.json.length)
  }
  return size
}
