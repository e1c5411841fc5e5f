import { checkTemplate } from './template.ts'

export type CheckTemplate = typeof checkTemplate

/** checkTemplate for the templates of one import: each is parsed once, however often it is asked for. */
export function rememberChecks(check: CheckTemplate = checkTemplate): CheckTemplate {
  const known = new Map<string, ReturnType<CheckTemplate>>()
  return (template) => {
    const before = known.get(template)
    if (before !== undefined) return before
    const checked = check(template)
    known.set(template, checked)
    return checked
  }
}
