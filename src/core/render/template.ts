import type { Liquid } from 'liquidjs'
import { FaultError } from '../faults/fault.ts'
import { createEngine } from './template-engine.ts'
import { templateReason } from './template-reason.ts'
import type { Scope } from './template-scope.ts'

/** Characters of Liquid's message about a template. */
const MAX_FAULT_LENGTH = 300

export type CheckedTemplate = { names: readonly string[] } | { fault: string }

/**
 * The templates of one import. Their time and memory are limited by the process that renders them: see sandbox/.
 */
export type Templates = {
  /** Loads liquidjs, so that the time for it is not charged to a template. */
  load(): void
  /**
   * The variables of a template, or why it is not valid, quoting the template only. Includes variables that it assigns:
   * one assigned in a condition comes from the scope when the condition is false.
   */
  check(template: string): CheckedTemplate
  /**
   * @param scope the variables; see templateScope
   * @param others available names that are not in the scope, for the message
   * @throws FaultError template_failed naming `file`; never contains a value
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
      const message = error instanceof Error ? error.message : String(error)
      return {
        fault: message
          .slice(0, MAX_FAULT_LENGTH * 2)
          .replaceAll(/\s+/g, ' ')
          .slice(0, MAX_FAULT_LENGTH),
      }
    }
  }

  return {
    load: () => void engine(),
    check(template) {
      const result = checked.get(template) ?? examine(template)
      checked.set(template, result)
      return result
    },
    render(file, template, scope, others = []) {
      try {
        // A template may assign variables: a shallow copy suffices, since it cannot change nested values.
        const ownScope = Object.assign(Object.create(null), scope)
        return String(engine().parseAndRenderSync(template, ownScope))
      } catch (error) {
        throw new FaultError('template_failed', {
          file,
          ...templateReason(error, template, { scope, others }),
        })
      }
    },
  }
}
