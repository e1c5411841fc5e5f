/** A piece of a Go template: text, or an action between the delimiters. */
export type Token = { text: string } | { action: string }

/** A lexical element of an action. */
export type Word =
  | { kind: 'string'; value: string }
  /** `.Data.data.key`, or `$secret.Data.data.key` with its variable. */
  | { kind: 'fields'; variable: string | undefined; fields: readonly string[] }
  | { kind: 'name'; value: string }
  | { kind: 'symbol'; value: '|' | ':=' | ',' }

/** BRACES are consul-template's; Bank-Vaults uses DOLLAR_BRACE in keys. */
export type Delimiters = { open: string; close: string }
export const BRACES: Delimiters = { open: '{{', close: '}}' }
export const DOLLAR_BRACE: Delimiters = { open: '${', close: '}' }

const COMMENT = /^\/\*.*\*\/$/s

/** Text and actions in order, without comments and the white space that `{{-` and `-}}` trim. */
export function tokenize(template: string, { open, close }: Delimiters): Token[] | { fault: string } {
  const tokens: Token[] = []
  let rest = template
  let trimsNext = false
  const addText = (text: string) => {
    const trimmed = trimsNext ? text.trimStart() : text
    if (trimmed !== '') tokens.push({ text: trimmed })
  }
  for (;;) {
    const start = rest.indexOf(open)
    if (start < 0) break
    const end = indexOfClose(rest, start + open.length, close)
    if (end < 0) return { fault: `${open} without its ${close}` }
    const inside = rest.slice(start + open.length, end)
    const trimsBefore = /^-\s/.test(inside)
    const text = rest.slice(0, start)
    addText(trimsBefore ? text.trimEnd() : text)
    trimsNext = /\s-$/.test(inside)
    const action = inside.replace(/^-\s/, '').replace(/\s-$/, '').trim()
    if (!COMMENT.test(action)) tokens.push({ action })
    rest = rest.slice(end + close.length)
  }
  addText(rest)
  return tokens
}

/** Ignores delimiters inside quoted strings. */
function indexOfClose(text: string, from: number, close: string): number {
  let quote = ''
  for (let index = from; index < text.length; index++) {
    const letter = text[index] ?? ''
    if (quote === '' && text.startsWith(close, index)) return index
    if (quote === '' && (letter === '"' || letter === '`')) quote = letter
    else if (quote === letter) quote = ''
    else if (quote === '"' && letter === '\\') index++
  }
  return -1
}

const WORD =
  /\s*(?:("(?:[^"\\]|\\.)*")|`([^`]*)`|(\$\w*)?((?:\.\w+)+)|(\$\w*)|(:=|[|,])|([A-Za-z_]\w*)|(\.))/y

/** @returns undefined when the action has an unknown element */
export function parseWords(action: string): Word[] | undefined {
  const words: Word[] = []
  WORD.lastIndex = 0
  while (action.slice(WORD.lastIndex).trim() !== '') {
    const from = WORD.lastIndex
    const match = WORD.exec(action)
    if (match === null || WORD.lastIndex === from) return undefined
    const word = toWord(match)
    if (word === undefined) return undefined
    words.push(word)
  }
  return words
}

function toWord([, quoted, raw, root, fields, variable, symbol, name, dot]: RegExpExecArray):
  | Word
  | undefined {
  if (raw !== undefined) return { kind: 'string', value: raw }
  if (quoted !== undefined) return unquote(quoted)
  if (symbol === '|' || symbol === ':=' || symbol === ',') return { kind: 'symbol', value: symbol }
  if (name !== undefined) return { kind: 'name', value: name }
  if (dot !== undefined) return { kind: 'fields', variable: undefined, fields: [] }
  return { kind: 'fields', variable: variable ?? root, fields: (fields ?? '').split('.').filter(Boolean) }
}

/** Go's escapes that occur in templates are JSON's too. */
function unquote(quoted: string): Word | undefined {
  try {
    return { kind: 'string', value: JSON.parse(quoted) as string }
  } catch {
    return undefined
  }
}
