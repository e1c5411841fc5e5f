import type { Liquid } from 'liquidjs'
import { FaultError } from '../faults/fault.ts'
import { createEngine } from './template-engine.ts'
import { reasonOf } from './template-reason.ts'
import type { Scope } from './template-scope.ts'

/** Of Liquid's words on a template. */
const MAX_FAULT_LENGTH = 300

export type CheckedTemplate = { names: readonly string[] } | { fault: string }

/**
 * The templates of one import. What they take in time and memory is limited by the process that runs them alone: see
 * sandbox/.
 */
export type Templates = {
  /** Loads what is needed, for a clock that starts after it. */
  load(): void
  /**
   * Names that stand in a template, or why it is none, in words that quote the template alone. Names that it sets
   * itself are among them: what is set in a condition is still asked for from outside when the condition fails.
   */
  check(template: string): CheckedTemplate
  /**
   * @param scope what the names in the template stand for; see templateScope
   * @param others names that the template could have asked for, and did not
   * @throws FaultError template_failed naming `file`; never with a value in it
   */
  render(file: string, template: string, scope: Scope, others?: readonly string[]): string
}

export function createTemplates(): Templates {
  const checked = new Map<string, CheckedTemplate>()
  let loaded: Liquid | undefined

  function engine(): Liquid {
    loaded ??= createEngine()
    return loaded
  }

  function examine(template: string): CheckedTemplate {
    try {
      return { names: engine().variablesSync(engine().parse(template)) }
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error)
      return {
        fault: words
          .slice(0, MAX_FAULT_LENGTH * 2)
          .replaceAll(/\s+/g, ' ')
          .slice(0, MAX_FAULT_LENGTH),
      }
    }
  }

  return {
    load: () => void engine(),
    check(template) {
      const known = checked.get(template) ?? examine(template)
      checked.set(template, known)
      return known
    },
    render(file, template, scope, others = []) {
      try {
        // A template may change the scope: a copy of its top, for nothing beneath can be changed.
        const own = Object.assign(Object.create(null), scope)
        return String(engine().parseAndRenderSync(template, own))
      } catch (error) {
        throw new FaultError('template_failed', { file, ...reasonOf(error, template, { scope, others }) })
      }
    },
  }
}
