import type { VaultCall } from './vault-call.ts'

/** A part of a template, between Go and Liquid. */
export type Part =
  | { text: string }
  /** A value in a call's answer; no keys: the whole answer. */
  | { call: VaultCall; keys: readonly string[]; filters: readonly string[] }
  /** A loop over its keys and values. */
  | { each: VaultCall; keys: readonly string[]; body: readonly LoopPart[] }

export type LoopPart = { text: string } | { loop: 'key' | 'value'; filters: readonly string[] }

/** How a template refers to calls. */
export type Naming = {
  /** The name of the call's source; undefined for the file's own call. */
  nameOf(call: VaultCall): string | undefined
  /** All names of spec.sources: in a template they take precedence over keys. */
  names: readonly string[]
}

const IDENTIFIER = /^[A-Za-z_]\w*$/
/** Names with another meaning in Liquid. */
const RESERVED = [
  'data',
  'true',
  'false',
  'nil',
  'null',
  'empty',
  'blank',
  'forloop',
  'item',
  'and',
  'or',
  'not',
  'contains',
  'in',
]

/** The template in Liquid. */
export function toLiquid(parts: readonly Part[], naming: Naming): string {
  return parts
    .map((part) => {
      if ('text' in part) return literal(part.text)
      if ('call' in part) return output(reference(part.call, part.keys, naming), part.filters)
      const body = part.body.map(loopPart).join('')
      return `{% for item in ${reference(part.each, part.keys, naming)} %}${body}{% endfor %}`
    })
    .join('')
}

function loopPart(part: LoopPart): string {
  if ('text' in part) return literal(part.text)
  return output(part.loop === 'key' ? 'item[0]' : 'item[1]', part.filters)
}

function output(expression: string, filters: readonly string[]): string {
  return `{{ ${[expression, ...filters].join(' | ')} }}`
}

function reference(call: VaultCall, [key, ...deeper]: readonly string[], naming: Naming): string {
  const root = naming.nameOf(call)
  if (key === undefined) return root ?? 'data'
  const isBare =
    root === undefined && IDENTIFIER.test(key) && !RESERVED.includes(key) && !naming.names.includes(key)
  const start = isBare ? key : `${root ?? 'data'}${member(key)}`
  return start + deeper.map(member).join('')
}

function member(key: string): string {
  // Liquid's strings have no escapes: a key can contain at most one kind of quote.
  const quote = key.includes('"') ? "'" : '"'
  return IDENTIFIER.test(key) ? `.${key}` : `[${quote}${key}${quote}]`
}

/** Escapes text that Liquid would take for a tag or an output. */
function literal(text: string): string {
  return /\{[{%]/.test(text) ? `{% raw %}${text}{% endraw %}` : text
}
