import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

/**
 * Prints, of the TAP stream, a line for each file, everything about what failed or was skipped, and what is
 * not TAP.
 * @returns the runner's own sums, as one line
 */
export async function showTap(stream: Readable): Promise<string> {
  let sums = ''
  let isDiagnostic = false
  let wasFailure = false
  for await (const line of createInterface({ input: stream })) {
    const text = line.trim()
    const isIndented = line.startsWith(' ')
    if (text === '---') isDiagnostic = wasFailure
    const isCoverage = / \|\s*[\d.]+ \|/.test(line)
    const isFailure = text.startsWith('not ok ')
    const isSkipped = /^ok .* # (SKIP|TODO)/i.test(text)
    const isFrame = text === '' || /^(TAP version|1\.\.\d|# (Subtest|time|No coverage))/.test(text)
    if (isDiagnostic || isFailure || isSkipped || isCoverage || !(isIndented || isFrame || text === '...'))
      console.log(line)
    if (text === '...') isDiagnostic = false
    if (/^(not )?ok /.test(text)) wasFailure = isFailure
    sums = /^# \{(.*)\}/.exec(line)?.[1] ?? sums
  }
  const of = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(sums)?.[1] ?? 0)
  return `${of('pass')} passed, ${of('fail')} failed, ${of('skip') + of('todo')} skipped`
}
