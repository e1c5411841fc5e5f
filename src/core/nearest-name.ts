/** Characters compared: the cost is quadratic. */
const MAX_LENGTH = 64

/**
 * The known name closest to a mistyped one: the fewest edits, ignoring case, dashes and underscores.
 * @returns undefined when no name is close enough
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const typed = normalize(name)
  const ranked = known
    .map((candidate) => ({ candidate, edits: countEdits(typed, normalize(candidate)) }))
    .sort((a, b) => a.edits - b.edits)
  const best = ranked[0]
  return best && best.edits <= Math.min(3, Math.max(1, Math.floor(typed.length / 2)))
    ? best.candidate
    : undefined
}

function normalize(name: string): string {
  return name.slice(0, MAX_LENGTH).toLowerCase().replaceAll(/[-_]/g, '').slice(0, MAX_LENGTH)
}

/** Levenshtein distance. */
function countEdits(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (const [row, letter] of [...from].entries()) {
    const current = [row + 1]
    for (const [column, other] of [...to].entries()) {
      const replaced = (previous[column] ?? 0) + (letter === other ? 0 : 1)
      current.push(Math.min(replaced, (previous[column + 1] ?? 0) + 1, (current[column] ?? 0) + 1))
    }
    previous = current
  }
  return previous[to.length] ?? 0
}
