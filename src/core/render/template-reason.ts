import type { LiquidError, PropertyAccessToken, Token } from 'liquidjs'
import type { Facts } from '../faults/facts.ts'
import { TemplateRefusal } from './template-engine.ts'
import type { Scope } from './template-scope.ts'

/** Characters of the template that are shown. */
const MAX_QUOTE_LENGTH = 120

type Reason = Pick<Facts, 'reason' | 'known'>
type Names = { scope: Scope; others: readonly string[] }

/**
 * Explains why a template failed, quoting the template only. Liquid's messages are not used: they contain values, for
 * example the one that `data[user]` uses as a key.
 */
export function templateReason(error: unknown, template: string, names: Names): Reason {
  const { token, originalError, name } = error as Partial<LiquidError>
  if (originalError?.message === 'memory alloc limit exceeded') return { reason: 'it makes too much text' }
  // Some filters evaluate an expression that may come from a value, which must not be shown.
  if (token === undefined || token.input !== template) return { reason: 'it could not be rendered' }
  if (name === 'UndefinedVariableError') return missingName(token, originalError, names)
  const why = originalError instanceof TemplateRefusal ? originalError.message : 'cannot be rendered'
  return { reason: `${quote(token.getText())} in line ${lineOf(token)} ${why}` }
}

/** Follows the steps of a name to the first unknown one, and lists the available names there. */
function missingName(token: Token, cause: Error | undefined, { scope, others }: Names): Reason {
  const steps = stepsOf(token)
  const whole = { reason: `there is no ${quote(token.getText())} (line ${lineOf(token)})` }
  let level: unknown = scope
  for (const [at, step] of steps.entries()) {
    if (step === undefined || typeof level !== 'object' || level === null) return whole
    if (Object.hasOwn(level, step)) {
      level = Reflect.get(level, step)
      continue
    }
    // A variable of a loop or an assign exists without being in the scope.
    if (at === 0 && Reflect.get(cause ?? {}, 'variableName') !== step) return whole
    const name = steps.slice(0, at + 1).join('.')
    const known = new Set([...Object.keys(level), ...(at === 0 ? others : [])])
    return { reason: `there is no ${quote(name)} (line ${lineOf(token)})`, known: [...known] }
  }
  return whole
}

/** undefined for a step that is only known while rendering, as in `data[user]`. */
function stepsOf(token: Token): (string | undefined)[] {
  const { props = [], variable } = token as Partial<PropertyAccessToken>
  if (variable !== undefined) return []
  return props.map((prop) => {
    const content: unknown = Reflect.get(prop, 'content')
    return typeof content === 'string' || typeof content === 'number' ? String(content) : undefined
  })
}

function lineOf(token: Token): number {
  return token.getPosition()[0] ?? 1
}

function quote(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ')
  return `"${line.length > MAX_QUOTE_LENGTH ? `${line.slice(0, MAX_QUOTE_LENGTH)}…` : line}"`
}
