/** Milliseconds per unit of Go's time.ParseDuration, the syntax that kubectl users know. */
const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3, // U+00B5, the micro sign
  μs: 1e-3, // U+03BC, the Greek letter
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

const part = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/y

/**
 * Parses a duration as Go and Kubernetes write it: `30s`, `2m`, `1m30s`, `1.5h`, `500ms`, `0`.
 * @returns whole milliseconds, or undefined when the text is not a duration or is negative
 */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0
  if (text === '') return undefined
  part.lastIndex = 0
  let totalMs = 0
  for (let read = 0; read < text.length; read = part.lastIndex) {
    const [, amount = '', unit = ''] = part.exec(text) ?? []
    if (unit === '') return undefined
    totalMs += Number(amount) * (unitMs[unit] ?? 0)
  }
  const rounded = Math.round(totalMs)
  return Number.isSafeInteger(rounded) ? rounded : undefined
}

/** The shortest text that parses back to `ms`: 90000 is `1m30s`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s'
  const parts: [number, string][] = [
    [Math.floor(ms / 3_600_000), 'h'],
    [Math.floor(ms / 60_000) % 60, 'm'],
    [Math.floor(ms / 1000) % 60, 's'],
    [ms % 1000, 'ms'],
  ]
  return parts
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => `${amount}${unit}`)
    .join('')
}
