import type { Json, JsonNumber } from './types.ts'

// Node 24's V8 has it; TypeScript's lib does not know it yet.
const { rawJSON } = JSON as unknown as { rawJSON(text: string): JsonNumber }

const QUOTE = 0x22
const PLUS = 0x2b
const COMMA = 0x2c
const MINUS = 0x2d
const NINE = 0x39
const UPPER_E = 0x45
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const LOWER_E = 0x65
const LETTER_F = 0x66
const LETTER_N = 0x6e
const LETTER_T = 0x74
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const SPACE = 0x20

/** Characters of a number that is cached: there are too many different longer ones. */
const MAX_CACHED_LENGTH = 4

/** Reads JSON that JSON.parse has accepted: it checks nothing. */
export class JsonReader {
  readonly #text: string
  #at = 0
  /** By literal. There can be millions of equal short numbers; rawJSON objects are frozen, so they can be shared. */
  readonly #numbers = new Map<string, JsonNumber>()

  constructor(text: string) {
    this.#text = text
  }

  value(): Json {
    switch (this.#peek()) {
      case OPEN_BRACE:
        return this.#object()
      case OPEN_BRACKET:
        return this.#array()
      case QUOTE:
        return this.#string()
      case LETTER_T:
        return this.#literal('true', true)
      case LETTER_F:
        return this.#literal('false', false)
      case LETTER_N:
        return this.#literal('null', null)
      default:
        return this.#number()
    }
  }

  #object(): Json {
    const object: { [key: string]: Json } = {}
    this.#at += 1
    if (this.#skips(CLOSE_BRACE)) return object
    do {
      this.#peek()
      const key = this.#string()
      this.#peek()
      this.#at += 1
      const value = this.value()
      // An assignment would set the prototype.
      if (key === '__proto__') define(object, key, value)
      else object[key] = value
    } while (this.#skips(COMMA))
    this.#at += 1
    return object
  }

  #array(): Json {
    const array: Json[] = []
    this.#at += 1
    if (this.#skips(CLOSE_BRACKET)) return array
    do array.push(this.value())
    while (this.#skips(COMMA))
    this.#at += 1
    return array
  }

  #string(): string {
    const start = this.#at
    let end = this.#text.indexOf('"', start + 1)
    while (this.#isEscaped(end)) end = this.#text.indexOf('"', end + 1)
    this.#at = end + 1
    // Not a slice of the text: a slice would keep the whole text in memory, with other secrets in it.
    return JSON.parse(this.#text.slice(start, this.#at)) as string
  }

  #isEscaped(at: number): boolean {
    let from = at
    while (this.#text.charCodeAt(from - 1) === BACKSLASH) from -= 1
    return (at - from) % 2 === 1
  }

  #number(): JsonNumber {
    const start = this.#at
    while (isNumeric(this.#text.charCodeAt(this.#at))) this.#at += 1
    const literal = this.#text.slice(start, this.#at)
    if (literal.length > MAX_CACHED_LENGTH) return rawJSON(literal)
    const cached = this.#numbers.get(literal)
    if (cached !== undefined) return cached
    const number = rawJSON(literal)
    this.#numbers.set(literal, number)
    return number
  }

  #literal<Value>(literal: string, value: Value): Value {
    this.#at += literal.length
    return value
  }

  /** Skips white space and returns the next character. */
  #peek(): number {
    while (this.#text.charCodeAt(this.#at) <= SPACE) this.#at += 1
    return this.#text.charCodeAt(this.#at)
  }

  #skips(character: number): boolean {
    const isNext = this.#peek() === character
    if (isNext) this.#at += 1
    return isNext
  }
}

/** Digits, signs, point and exponent. In valid JSON none of these follows a number. */
function isNumeric(character: number): boolean {
  if (character <= NINE) return character >= MINUS || character === PLUS
  return character === LOWER_E || character === UPPER_E
}

function define(object: object, key: string, value: Json): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true })
}
