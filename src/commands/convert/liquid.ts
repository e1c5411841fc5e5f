import type { VaultCall } from './vault-call.ts'

/** A template on its way from one language to another. */
export type Part =
  | { text: string }
  /** A value of a call's answer; no keys: all of it. */
  | { call: VaultCall; keys: readonly string[]; filters: readonly string[] }
  /** For each key and value of it. */
  | { each: VaultCall; keys: readonly string[]; body: readonly LoopPart[] }

export type LoopPart = { text: string } | { loop: 'key' | 'value'; filters: readonly string[] }

/** What stands for a call in a template: the name of its source, undefined for the file's own. */
export type Naming = {
  nameOf(call: VaultCall): string | undefined
  /** All names of spec.sources: in a template they win over keys. */
  names: readonly string[]
}

const IDENTIFIER = /^[A-Za-z_]\w*$/
/** Words that Liquid takes for something else. */
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
  // Liquid's strings know no escapes: a key has at most one kind of quotes in it.
  const quote = key.includes('"') ? "'" : '"'
  return IDENTIFIER.test(key) ? `.${key}` : `[${quote}${key}${quote}]`
}

/** Text that Liquid would take for its own stays text. */
function literal(text: string): string {
  return /\{[{%]/.test(text) ? `{% raw %}${text}{% endraw %}` : text
}
