import { FaultError, scrub } from '../../core/faults/fault.ts'

export type Outcome = 'ok' | 'warn' | 'fail' | 'skipped'

/** One line of the report. It never holds a secret, a token or file contents. */
export type Finding = {
  name: string
  outcome: Outcome
  detail: string
  /** How to fix it. */
  fix?: string
}

/** The result of a check. Its value is for the checks that build on it. */
export type Verdict<T = undefined> =
  | { outcome: 'ok'; detail: string; value: T }
  | { outcome: 'warn'; detail: string; fix: string; value: T }
  | { outcome: 'fail'; detail: string; fix: string }
  | { outcome: 'skipped'; detail: string }

export function ok(detail: string): Verdict
export function ok<T>(detail: string, value: T): Verdict<T>
export function ok<T>(detail: string, value?: T): Verdict<T | undefined> {
  return { outcome: 'ok', detail, value }
}

export function warn(detail: string, fix: string): Verdict
export function warn<T>(detail: string, fix: string, value: T): Verdict<T>
export function warn<T>(detail: string, fix: string, value?: T): Verdict<T | undefined> {
  return { outcome: 'warn', detail, fix, value }
}

export function fail(detail: string, fix: string): Verdict<never> {
  return { outcome: 'fail', detail, fix }
}

export function skipped(reason: string): Verdict<never> {
  return { outcome: 'skipped', detail: reason }
}

/** All findings, in the order of the checks. */
export type Report = {
  readonly findings: readonly Finding[]
  /** Runs a check and records its finding; an error is a failure. @throws the signal's reason */
  run<T>(name: string, check: () => Promise<Verdict<T>> | Verdict<T>): Promise<Verdict<T>>
  skip(names: readonly string[], reason: string): void
}

/** @param signal ends the report */
export function createReport(signal: AbortSignal): Report {
  const findings: Finding[] = []
  return {
    findings,
    async run(name, check) {
      const verdict = await attempt(check, signal)
      const { outcome, detail } = verdict
      findings.push({ name, outcome, detail, ...('fix' in verdict ? { fix: verdict.fix } : {}) })
      return verdict
    },
    skip(names, reason) {
      for (const name of names) findings.push({ name, outcome: 'skipped', detail: reason })
    },
  }
}

/** Undefined when the check failed or was skipped: then skip the checks that build on it. */
export function valueIn<T>(verdict: Verdict<T>): T | undefined {
  return 'value' in verdict ? verdict.value : undefined
}

async function attempt<T>(
  check: () => Promise<Verdict<T>> | Verdict<T>,
  signal: AbortSignal,
): Promise<Verdict<T>> {
  try {
    return await check()
  } catch (error) {
    signal.throwIfAborted()
    return error instanceof FaultError ? verdictOfFault(error) : verdictOfError(error)
  }
}

/** A fault's message ends with its next step. */
function verdictOfFault({ message }: FaultError): Verdict<never> {
  const [detail = message, fix = ''] = message.split('; next: ')
  return fail(detail, fix)
}

function verdictOfError(error: unknown): Verdict<never> {
  const detail = error instanceof Error ? scrub(error.message) : 'unknown error'
  return fail(detail, 'fix what the message names and run the doctor again')
}

const OUTCOMES = ['ok', 'warn', 'fail', 'skipped'] as const satisfies readonly Outcome[]
const OUTCOME_WIDTH = 'skipped'.length + 2

/** The report for people: a line for each check, the fix below it, and the counts at the end. */
export function showTable(findings: readonly Finding[]): string {
  const nameWidth = Math.max(0, ...findings.map(({ name }) => name.length)) + 2
  const indent = ' '.repeat(OUTCOME_WIDTH + nameWidth)
  const lines = findings.flatMap(({ name, outcome, detail, fix }) => [
    `${outcome.padEnd(OUTCOME_WIDTH)}${name.padEnd(nameWidth)}${detail}`,
    ...(fix ? [`${indent}fix: ${fix}`] : []),
  ])
  return [...lines, '', summarize(findings), ''].join('\n')
}

/** The report for scripts. */
export function showJson(version: string, findings: readonly Finding[]): string {
  return `${JSON.stringify({ version, ok: hasNoFailures(findings), checks: findings }, undefined, 2)}\n`
}

/** Warnings and skipped checks are not failures. */
export function hasNoFailures(findings: readonly Finding[]): boolean {
  return findings.every(({ outcome }) => outcome !== 'fail')
}

function summarize(findings: readonly Finding[]): string {
  const counts = OUTCOMES.map((wanted) => {
    const count = findings.filter(({ outcome }) => outcome === wanted).length
    return count > 0 ? `${count} ${wanted}` : ''
  })
  return `${findings.length} checks: ${counts.filter(Boolean).join(', ')}`
}
