import type { Finding, Outcome } from './report.ts'

const OUTCOMES = ['ok', 'warn', 'fail', 'skipped'] as const satisfies readonly Outcome[]
const OUTCOME_WIDTH = 'skipped'.length + 2

/** The report as people read it: a line for each check, under each that is not well what to do, a sum at the end. */
export function showTable(findings: readonly Finding[]): string {
  const nameWidth = Math.max(0, ...findings.map(({ name }) => name.length)) + 2
  const indent = ' '.repeat(OUTCOME_WIDTH + nameWidth)
  const lines = findings.flatMap(({ name, outcome, detail, fix }) => [
    `${outcome.padEnd(OUTCOME_WIDTH)}${name.padEnd(nameWidth)}${detail}`,
    ...(fix ? [`${indent}fix: ${fix}`] : []),
  ])
  return [...lines, '', sumUp(findings), ''].join('\n')
}

/** The report for scripts. */
export function showJson(version: string, findings: readonly Finding[]): string {
  return `${JSON.stringify({ version, ok: isWell(findings), checks: findings }, undefined, 2)}\n`
}

/** Warnings are no failures. */
export function isWell(findings: readonly Finding[]): boolean {
  return findings.every(({ outcome }) => outcome !== 'fail')
}

function sumUp(findings: readonly Finding[]): string {
  const counts = OUTCOMES.map((wanted) => {
    const count = findings.filter(({ outcome }) => outcome === wanted).length
    return count > 0 ? `${count} ${wanted}` : ''
  })
  return `${findings.length} checks: ${counts.filter(Boolean).join(', ')}`
}
