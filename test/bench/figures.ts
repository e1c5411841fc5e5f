import { readFileSync } from 'node:fs'

/** Linux counts CPU time in hundredths of a second on every machine that this runs on (USER_HZ). */
const TICKS_PER_SECOND = 100

/** CPU seconds, user and system, that a process has used so far. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** MiB of VmRSS: what is resident now. */
export function residentMiB(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1024
}

/** Calls to Vault so far, by operation, from the plugin's own metrics. */
export async function vaultCalls(metricsUrl: string): Promise<Record<string, number>> {
  const text = await (await fetch(metricsUrl)).text()
  const calls: Record<string, number> = {}
  for (const line of text.matchAll(/^vault_files_vault_call_duration_seconds_count\{(.*)\} (\d+)$/gm)) {
    const operation = /operation="(\w+)"/.exec(line[1] ?? '')?.[1] ?? ''
    calls[operation] = (calls[operation] ?? 0) + Number(line[2])
  }
  return calls
}

export function sum(calls: Readonly<Record<string, number>>): number {
  return Object.values(calls).reduce((total, count) => total + count, 0)
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2
}

/** Nearest rank. @param share 0.99 for p99 */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}
