import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

/** Failed tests of one file that the summary names; the output above it has all. */
const MOST_NAMED = 20

type Failure = { depth: number; path: string[] }

/**
 * Prints, of the TAP stream, a line for each file, everything about what failed or was skipped, and what is
 * not TAP; then a summary of the files that failed.
 * @param commandFor how to run one file alone
 * @returns the runner's own sums, as one line
 */
export async function showTap(stream: Readable, commandFor: (file: string) => string): Promise<string> {
  let sums = ''
  let isDiagnostic = false
  let wasFailure = false
  let failures: Failure[] = []
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
    if (isFailure && !/ # TODO/i.test(text)) failures = withFailure(failures, line)
    sums = /^# \{(.*)\}/.exec(line)?.[1] ?? sums
  }
  for (const line of summaryOf(failures, commandFor)) console.log(line)
  const of = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(sums)?.[1] ?? 0)
  return `${of('pass')} passed, ${of('fail')} failed, ${of('skip') + of('todo')} skipped`
}

/** TAP names a test after what is in it: failures one level deeper are its own. */
function withFailure(failures: readonly Failure[], line: string): Failure[] {
  const depth = Math.floor((line.length - line.trimStart().length) / 4)
  const name = line
    .trim()
    .replace(/^not ok \d+( - )?/, '')
    .replace(/ # time=\S+$/, '')
  const inner = failures.filter((failure) => failure.depth > depth)
  const others = failures.filter((failure) => failure.depth <= depth)
  const found = inner.length > 0 ? inner.map(({ path }) => [name, ...path]) : [[name]]
  return [...others, ...found.map((path) => ({ depth, path }))]
}

function summaryOf(failures: readonly Failure[], commandFor: (file: string) => string): string[] {
  const byFile = Map.groupBy(failures, ({ path }) => path[0] ?? '')
  return [...byFile].flatMap(([file, found]) => {
    const named = found.slice(0, MOST_NAMED).map(({ path }) => `  ${path.slice(1).join(' > ')}`)
    const more = found.length > MOST_NAMED ? [`  and ${found.length - MOST_NAMED} more`] : []
    return [
      '',
      `failed: ${file}`,
      ...named.filter((line) => line.trim() !== ''),
      ...more,
      `  run it alone: ${commandFor(file)}`,
    ]
  })
}
