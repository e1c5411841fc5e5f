import { createRequire } from 'node:module'
import type { Liquid } from 'liquidjs'
import { FaultError } from './errors.ts'

const require = createRequire(import.meta.url)

/** Characters of a template, milliseconds for all of its work, and what Liquid counts as memory. */
const LIMITS = { parseLimit: 65_536, renderLimit: 500, memoryLimit: 8 << 20 }

/** Names that a template takes from outside; or why it is none, in words that quote the template alone. */
export function checkTemplate(template: string): { names: string[] } | { fault: string } {
  const engine = createEngine()
  try {
    const names = engine.globalVariableSegmentsSync(engine.parse(template)).map(([name]) => String(name))
    return { names: [...new Set(names)] }
  } catch (error) {
    return { fault: error instanceof Error ? error.message : String(error) }
  }
}

/**
 * @param scope what the names in the template stand for
 * @throws FaultError template_failed naming `file`; never with a value in it
 */
export function renderTemplate(file: string, template: string, scope: Record<string, unknown>): string {
  try {
    return createEngine().parseAndRenderSync(template, scope)
  } catch (error) {
    throw new FaultError('template_failed', { file, reason: reasonOf(error), known: Object.keys(scope) })
  }
}

/** Loaded when the first template is met: a node without any does not pay for it. */
function createEngine(): Liquid {
  const { Liquid } = require('liquidjs') as typeof import('liquidjs')
  return new Liquid({ ...LIMITS, strictVariables: true, strictFilters: true, ownPropertyOnly: true })
}

function reasonOf(error: unknown): string {
  const { originalError } = error as { originalError?: { variableName?: unknown } }
  const name = originalError?.variableName
  return typeof name === 'string' ? `there is no "${name}"` : 'it could not be rendered'
}
