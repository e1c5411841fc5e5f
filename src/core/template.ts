import { FaultError } from './errors.ts'
import { createEngine } from './template-engine.ts'
import { reasonOf } from './template-reason.ts'
import type { Scope } from './template-scope.ts'
import { runWithin } from './time-limit.ts'

/** Milliseconds that one template may take, to be read or to be rendered. */
export const TEMPLATE_TIMEOUT_MS = 500
/** Of Liquid's words on a template. */
const LONGEST_FAULT = 300

/**
 * Names that stand in a template, or why it is none, in words that quote the template alone. Names that it sets itself
 * are among them: what is set in a condition is still asked for from outside when the condition fails.
 */
export function checkTemplate(template: string): { names: string[] } | { fault: string } {
  try {
    const found = runWithin(TEMPLATE_TIMEOUT_MS, () => {
      const engine = createEngine()
      return engine.variablesSync(engine.parse(template))
    })
    return found ? { names: found.value } : { fault: tooLong }
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error)
    return { fault: words.replaceAll(/\s+/g, ' ').slice(0, LONGEST_FAULT) }
  }
}

/**
 * @param scope what the names in the template stand for; see templateScope
 * @param others names that the template could have asked for, and did not
 * @throws FaultError template_failed naming `file`; never with a value in it
 */
export function renderTemplate(
  file: string,
  template: string,
  scope: Scope,
  others: readonly string[] = [],
): string {
  try {
    // A template may change the scope: a copy of its top, for nothing beneath can be changed.
    const own = Object.assign(Object.create(null), scope)
    const rendered = runWithin(TEMPLATE_TIMEOUT_MS, () => createEngine().parseAndRenderSync(template, own))
    if (rendered) return String(rendered.value)
  } catch (error) {
    throw new FaultError('template_failed', { file, ...reasonOf(error, template, { scope, others }) })
  }
  throw new FaultError('template_failed', { file, reason: tooLong })
}

const tooLong = `it takes longer than ${TEMPLATE_TIMEOUT_MS} ms`
