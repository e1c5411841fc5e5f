import { ExactNumber } from '../json/exact-number.ts'
import { isJsonNumber, isJsonObject } from '../json/json.ts'
import type { Json } from '../json/types.ts'
import { parseValue, type Value } from '../json/value.ts'

type Values = ReadonlyMap<string, Value>

/** What names stand for. It has no prototype, and nothing in it has: a name is there or it is not. */
export type Scope = { [name: string]: unknown }

/**
 * What the names in a template stand for: the keys of the file's own source, all of them again under `data`, and the
 * named sources. What the import names wins over a key of the same name: whoever writes the secret must not be able
 * to change what the template means.
 * @param plainOf plainValues, or one that remembers
 */
export function templateScope(
  own: Values,
  named: ReadonlyMap<string, Values>,
  plainOf: (values: Values) => Scope = plainValues,
): Scope {
  const sources = [...named].map(([name, values]) => [name, plainOf(values)] as const)
  const data = plainOf(own)
  return bare([...Object.entries(data), ['data', data], ...sources])
}

/** JSON within values parsed, for names to lead into it. */
export function plainValues(values: Values): Scope {
  return plainObject([...values].map(([key, value]) => [key, parseValue(value)] as const))
}

function plainObject(values: readonly (readonly [string, Json])[]): Scope {
  return bare(values.map(([key, value]) => [key, plain(value)] as const))
}

/** Without a prototype `__proto__` is a name as any other, too. */
function bare(entries: readonly (readonly [string, unknown])[]): Scope {
  const scope: Scope = Object.create(null)
  for (const [key, value] of entries) scope[key] = value
  return scope
}

/** Numbers stay numbers where JavaScript writes them as Vault did. */
function plain(value: Json): unknown {
  if (isJsonNumber(value)) {
    const number = Number(value.rawJSON)
    return String(number) === value.rawJSON ? number : new ExactNumber(value.rawJSON)
  }
  if (Array.isArray(value)) return value.map(plain)
  return isJsonObject(value) ? plainObject(Object.entries(value)) : value
}
