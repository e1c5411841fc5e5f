import { isJsonNumber, isJsonObject } from '../json/json.ts'
import type { Json } from '../json/types.ts'
import { parseValue, type Value } from '../json/value.ts'

// Node 24's V8 has it; TypeScript's lib does not know it yet.
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown }

type Values = ReadonlyMap<string, Value>

/** A number whose literal JavaScript would not reproduce, such as 9007199254740993 or 1.10. */
export class ExactNumber {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  toString(): string {
    return this.#text
  }

  toJSON(): unknown {
    return rawJSON(this.#text)
  }
}

/** The variables of a template. Neither the scope nor any object in it has a prototype, so no name is inherited. */
export type Scope = { [name: string]: unknown }

/**
 * The variables of a template: the keys of the file's source, the same keys under `data`, and the named sources. A named
 * source wins over a key of the same name: writing a secret must not change the meaning of a template.
 * @param plainOf plainValues, or a memoized one
 */
export function templateScope(
  source: Values,
  named: ReadonlyMap<string, Values>,
  plainOf: (values: Values) => Scope = plainValues,
): Scope {
  const sources = [...named].map(([name, values]) => [name, plainOf(values)] as const)
  const data = plainOf(source)
  return bare([...Object.entries(data), ['data', data], ...sources])
}

/** Parses JSON values, so that a template can address their members. */
export function plainValues(values: Values): Scope {
  return plainObject([...values].map(([key, value]) => [key, parseValue(value)] as const))
}

function plainObject(values: readonly (readonly [string, Json])[]): Scope {
  return bare(values.map(([key, value]) => [key, plain(value)] as const))
}

/** Without a prototype, `__proto__` is an ordinary name. */
function bare(entries: readonly (readonly [string, unknown])[]): Scope {
  const scope: Scope = Object.create(null)
  for (const [key, value] of entries) scope[key] = value
  return scope
}

/** A number stays a JavaScript number only if that prints the literal that Vault sent. */
function plain(value: Json): unknown {
  if (isJsonNumber(value)) {
    const number = Number(value.rawJSON)
    return String(number) === value.rawJSON ? number : new ExactNumber(value.rawJSON)
  }
  if (Array.isArray(value)) return value.map(plain)
  return isJsonObject(value) ? plainObject(Object.entries(value)) : value
}
