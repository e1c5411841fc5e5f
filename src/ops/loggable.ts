import { cutForeign, FaultError, scrub } from '../core/faults/fault.ts'

/** Deeper than any field of ours; also ends circular references. */
const DEEPEST = 6
const LONGEST_CAUSE = 4
const MOST_FRAMES = 8
/** Characters of one text. */
const LONGEST_TEXT = 16_384
/** Members of one list or object. */
const MOST_MEMBERS = 1_000

type Loggable = string | number | boolean | null | undefined | Loggable[] | { [name: string]: Loggable }

/**
 * A log field's value in a form that is safe to print. Secrets stay masked, bytes become their number, errors become
 * names and places: the message of a foreign error and its other properties (a request with headers) may hold content.
 */
export function toLoggable(value: unknown, depth = 0): Loggable {
  if (typeof value === 'string') return printable(value)
  if (typeof value === 'number' || typeof value === 'boolean' || value === null || value === undefined)
    return value
  if (typeof value !== 'object') return String(value)
  if (value instanceof Error) return errorFields(value)
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`
  if (depth >= DEEPEST) return '[…]'
  if (Array.isArray(value)) return value.slice(0, MOST_MEMBERS).map((item) => toLoggable(item, depth + 1))
  if (isPlain(value)) {
    return Object.fromEntries(
      Object.entries(value)
        .slice(0, MOST_MEMBERS)
        .map(([name, member]) => [name, toLoggable(member, depth + 1)]),
    )
  }
  // Secrets become [secret], dates and URLs their text, anything else the name of its class.
  return 'toJSON' in value && typeof value.toJSON === 'function'
    ? toLoggable(value.toJSON(), depth + 1)
    : `[${value.constructor.name}]`
}

/** An error of ours has a message that is safe by design. Of any other, only class, code and place are logged. */
function errorFields(error: Error): { [name: string]: Loggable } {
  if (!(error instanceof FaultError)) return foreignFields(error, 0)
  const { fault, message, cause } = error
  return {
    fault,
    message: printable(message),
    ...(cause instanceof Error && { cause: foreignFields(cause, 1) }),
  }
}

function foreignFields(error: Error, depth: number): { [name: string]: Loggable } {
  if (error instanceof FaultError) return { name: error.name, fault: error.fault }
  const code = 'code' in error && isIdentifier(error.code) ? error.code : undefined
  const at = framesOf(error)
  return {
    name: isIdentifier(error.name) ? error.name : 'Error',
    ...(code !== undefined && { code }),
    ...(at.length > 0 && { at }),
    ...(error.cause instanceof Error &&
      depth < LONGEST_CAUSE && { cause: foreignFields(error.cause, depth + 1) }),
  }
}

/** Only the stack frames; none where they cannot be separated from the message for certain. */
function framesOf(error: Error): string[] {
  // The stack contains the message; no code of ours makes one that long.
  if (error.message.length > LONGEST_TEXT) return []
  const { name, message, stack = '' } = error
  const head = [`${name}: ${message}`, name].find((text) => stack.startsWith(`${text}\n    at `))
  if (head === undefined) return []
  return stack
    .slice(head.length + 1)
    .split('\n')
    .slice(0, MOST_FRAMES)
    .map((line) => line.trim().replace(/^at /, ''))
}

/** Foreign text may contain tokens and terminal control characters. */
function printable(given: string): string {
  const text = cutForeign(given, LONGEST_TEXT)
  const clean = /eyJ|\b(hv)?[sbr]\./.test(text) ? scrubLong(text) : text
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must go
  return clean.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, ' ')
}

/** scrub() cuts to one line, which a list of names may exceed: so it gets each word separately. */
function scrubLong(text: string): string {
  return text.replaceAll(/\S+/g, (word) => scrub(word))
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function isIdentifier(value: unknown): value is string {
  return typeof value === 'string' && /^\w{1,64}$/.test(value)
}
