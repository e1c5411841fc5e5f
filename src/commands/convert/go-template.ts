import { changed } from './comment.ts'
import { filterOf } from './go-filters.ts'
import { type Delimiters, parseWords, type Token, tokenize, type Word } from './go-tokens.ts'
import type { LoopPart, Part } from './liquid.ts'
import { hasDataSegment, type VaultCall, vaultCall } from './vault-call.ts'

/** A translated Go template, or the first action without a counterpart. */
export type Translated = { parts: Part[]; notes: string[] } | { fault: string }

/** The meaning of `.` or a variable. */
type Meaning =
  /** The answer of `secret`: Data, then its keys. */
  | { kind: 'secret'; call: VaultCall }
  /** The keys of an answer. */
  | { kind: 'keys'; call: VaultCall }
  /** The answer of `pkiCert`. */
  | { kind: 'certificate'; call: VaultCall }
  | { kind: 'loop'; part: 'key' | 'value' }

type Scope = { dot: Meaning | undefined; variables: ReadonlyMap<string, Meaning> }
type State = { tokens: readonly Token[]; position: number; notes: Set<string> }

/** Ends the translation: half a template is of no use. */
class Untranslatable extends Error {}

const CERTIFICATE_KEYS: ReadonlyMap<string, string> = new Map([
  ['Cert', 'certificate'],
  ['Key', 'private_key'],
  ['CA', 'issuing_ca'],
])

/**
 * Translates the common shapes of Go templates: `with secret`, `pkiCert`, fields, `index`, `range` over the keys, some
 * filters.
 * @param root the meaning of `.` outside any block
 */
export function translateGoTemplate(template: string, delimiters: Delimiters, root?: VaultCall): Translated {
  const tokens = tokenize(template, delimiters)
  if ('fault' in tokens) return tokens
  const state: State = { tokens, position: 0, notes: new Set() }
  const dot: Meaning | undefined = root && { kind: 'keys', call: root }
  try {
    const parts = block(state, { dot, variables: new Map() }, 'top')
    return { parts: joinText(parts), notes: [...state.notes] }
  } catch (error) {
    if (error instanceof Untranslatable) return { fault: error.message }
    throw error
  }
}

function block(state: State, outer: Scope, level: 'top' | 'inner'): Part[] {
  const parts: Part[] = []
  let scope = outer
  for (;;) {
    const token = state.tokens[state.position++]
    if (token === undefined) {
      if (level === 'top') return parts
      throw new Untranslatable('a block without its end')
    }
    if ('text' in token) {
      parts.push({ text: token.text })
      continue
    }
    const { action } = token
    if (action === 'end' && level === 'inner') return parts
    const words = parseWords(action) ?? fail(action)
    const [first, ...rest] = words
    if (isName(first, 'with')) parts.push(...withBlock(state, scope, rest, action))
    else if (isName(first, 'range')) parts.push(rangeBlock(state, scope, rest, action))
    else if (isSymbol(words[1], ':=')) scope = assign(scope, words, action)
    else parts.push(output(state, scope, words, action))
  }
}

/** `with secret "path" "key=value"`, `with $name := secret …`, `with $name`. */
function withBlock(state: State, scope: Scope, words: readonly Word[], action: string): Part[] {
  const [variable, sign] = words
  const isNamed = isSymbol(sign, ':=') && variable?.kind === 'fields' && variable.variable !== undefined
  const dot = meaningOf(scope, isNamed ? words.slice(2) : words, action)
  const variables = isNamed ? new Map(scope.variables).set(variable.variable ?? '', dot) : scope.variables
  return block(state, { dot, variables }, 'inner')
}

/** `range $key, $value := .Data.data`. */
function rangeBlock(state: State, scope: Scope, words: readonly Word[], action: string): Part {
  const [key, comma, value, sign, source, ...more] = words
  const isPair =
    isSymbol(comma, ',') && isSymbol(sign, ':=') && source?.kind === 'fields' && more.length === 0
  if (!isPair || key?.kind !== 'fields' || value?.kind !== 'fields') throw fail(action)
  const { call, keys } = lookup(state, scope, source, action)
  const variables = new Map(scope.variables)
    .set(key.variable ?? '', { kind: 'loop', part: 'key' })
    .set(value.variable ?? '', { kind: 'loop', part: 'value' })
  const body = block(state, { dot: { kind: 'loop', part: 'value' }, variables }, 'inner')
  return { each: call, keys, body: body.map((part) => loopPart(part, action)) }
}

/** A loop may contain only its two variables and text: anything else would need a nested loop or a second call. */
function loopPart(part: Part, action: string): LoopPart {
  if ('text' in part) return part
  if ('call' in part && part.call === LOOP)
    return { loop: part.keys[0] === 'key' ? 'key' : 'value', filters: part.filters }
  throw fail(action)
}

/** Placeholder for the loop's variables until loopPart resolves them. */
const LOOP: VaultCall = { path: '', method: 'GET', data: undefined, version: undefined }

function assign(scope: Scope, words: readonly Word[], action: string): Scope {
  const [variable] = words
  if (variable?.kind !== 'fields' || variable.variable === undefined) throw fail(action)
  const meaning = meaningOf(scope, words.slice(2), action)
  return { ...scope, variables: new Map(scope.variables).set(variable.variable, meaning) }
}

function meaningOf(scope: Scope, words: readonly Word[], action: string): Meaning {
  const [first, ...rest] = words
  if (first?.kind === 'fields' && rest.length === 0 && first.fields.length === 0) {
    return rootOf(scope, first.variable) ?? fail(action)
  }
  const isSecret = isName(first, 'secret')
  if (!isSecret && !isName(first, 'pkiCert')) throw fail(action)
  const call = callOf(rest, action, isSecret ? 'GET' : 'PUT')
  return { kind: isSecret ? 'secret' : 'certificate', call }
}

/** consul-template writes instead of reads when it gets `key=value`. */
function callOf(words: readonly Word[], action: string, plainMethod: 'GET' | 'PUT'): VaultCall {
  const texts = words.map((word) => (word.kind === 'string' ? word.value : fail(action)))
  const [path = '', ...args] = texts
  const [plainPath = '', query = ''] = path.split('?')
  const version = Number(new URLSearchParams(query).get('version') ?? 0) || undefined
  const pairs = args.map((arg) => /^([^=]+)=(.*)$/s.exec(arg) ?? fail(action))
  const data = Object.fromEntries(pairs.map(([, key = '', value = '']) => [key, value]))
  const method = args.length > 0 ? 'PUT' : plainMethod
  const called = vaultCall(
    plainPath,
    method === 'GET' ? { version } : { method, data: args.length > 0 ? data : undefined },
  )
  if ('fault' in called) throw new Untranslatable(called.fault)
  return called.call
}

function output(state: State, scope: Scope, words: readonly Word[], action: string): Part {
  const [start = [], ...stages] = splitStages(words)
  const filters = stages.map((stage) => filterOf(stage) ?? fail(action))
  const [first, ...rest] = start
  if (first?.kind === 'string' && rest.length === 0 && filters.length === 0) return { text: first.value }
  if (first?.kind === 'fields' && rest.length === 0)
    return { ...lookup(state, scope, first, action), filters }
  const [operand, ...keys] = rest
  if (isName(first, 'index') && operand?.kind === 'fields' && keys.every((key) => key.kind === 'string')) {
    const found = lookup(state, scope, operand, action)
    return {
      call: found.call,
      keys: [...found.keys, ...keys.map((key) => (key.kind === 'string' ? key.value : ''))],
      filters,
    }
  }
  const filter = first && filterOf([first])
  if (filter !== undefined && operand?.kind === 'fields' && keys.length === 0) {
    return { ...lookup(state, scope, operand, action), filters: [filter, ...filters] }
  }
  throw fail(action)
}

/** The stages of a pipeline such as `a "x" | b`. */
function splitStages(words: readonly Word[]): Word[][] {
  const stages: Word[][] = [[]]
  for (const word of words) {
    if (isSymbol(word, '|')) stages.push([])
    else stages.at(-1)?.push(word)
  }
  return stages
}

/** The value that fields refer to. */
function lookup(
  state: State,
  scope: Scope,
  word: Word & { kind: 'fields' },
  action: string,
): { call: VaultCall; keys: readonly string[] } {
  const meaning = rootOf(scope, word.variable) ?? fail(action)
  const { fields } = word
  if (meaning.kind === 'loop' && fields.length === 0) return { call: LOOP, keys: [meaning.part] }
  if (meaning.kind === 'keys') return { call: meaning.call, keys: fields }
  const [first = '', ...keys] = fields
  if (meaning.kind === 'certificate') {
    const key = CERTIFICATE_KEYS.get(first)
    return key !== undefined && keys.length === 0 ? { call: meaning.call, keys: [key] } : fail(action)
  }
  return meaning.kind === 'secret' && first === 'Data'
    ? secretLookup(state, meaning.call, keys, action)
    : fail(action)
}

/** Imports descend into the data of KV v2 automatically; consul-template leaves that to the template. */
function secretLookup(state: State, call: VaultCall, fields: readonly string[], action: string) {
  const [data, ...keys] = fields
  const isWritten = call.method !== 'GET'
  if (
    isWritten ||
    (data !== 'data' && !(hasDataSegment(call.path) && (data === undefined || data === 'metadata')))
  ) {
    return { call, keys: fields }
  }
  if (data !== 'data') throw fail(action)
  if (hasDataSegment(call.path)) return { call, keys }
  const [mount = '', ...rest] = call.path.split('/')
  const path = [mount, 'data', ...rest].join('/')
  state.notes.add(
    changed(
      `consul-template added data/ to ${JSON.stringify(call.path)} automatically; here the path is written in full. Check that ${mount} is the complete mount path of the engine`,
    ),
  )
  return { call: { ...call, path }, keys }
}

function rootOf({ dot, variables }: Scope, variable: string | undefined): Meaning | undefined {
  return variable === undefined ? dot : variables.get(variable)
}

function isName(word: Word | undefined, value: string): boolean {
  return word?.kind === 'name' && word.value === value
}

function isSymbol(word: Word | undefined, value: string): boolean {
  return word?.kind === 'symbol' && word.value === value
}

function fail(action: string): never {
  throw new Untranslatable(`cannot translate {{ ${action} }}`)
}

function joinText(parts: readonly Part[]): Part[] {
  const result: Part[] = []
  for (const part of parts) {
    const last = result.at(-1)
    if ('text' in part && last && 'text' in last) result[result.length - 1] = { text: last.text + part.text }
    else result.push(part)
  }
  return result
}
