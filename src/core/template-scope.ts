import { isJsonNumber, isJsonObject } from './json.ts'
import type { Json } from './ports.ts'

type Values = ReadonlyMap<string, Json>

/**
 * What the names in a template stand for: the keys of the file's own source, all of them again under `data`, and the
 * named sources. What the import names wins over a key of the same name: whoever writes the secret must not be able
 * to change what the template means.
 */
export function templateScope(own: Values, named: ReadonlyMap<string, Values>): Record<string, unknown> {
  const sources = [...named].map(([name, values]) => [name, plainObject(values)] as const)
  const data = plainObject(own)
  return { ...data, data, ...Object.fromEntries(sources) }
}

function plainObject(values: Values): Record<string, unknown> {
  return Object.fromEntries([...values].map(([key, value]) => [key, plain(value)]))
}

/** Numbers stay numbers where JavaScript holds them exactly as written, and become their text where it does not. */
function plain(value: Json): unknown {
  if (isJsonNumber(value)) {
    const number = Number(value.rawJSON)
    return String(number) === value.rawJSON ? number : value.rawJSON
  }
  if (Array.isArray(value)) return value.map(plain)
  if (!isJsonObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member)]))
}
