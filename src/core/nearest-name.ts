/** Characters that are compared: the work grows with their square. */
const MAX_LENGTH = 64

/**
 * The known name that was most likely meant by a mistyped one: case and dashes do not count, then the fewest edits.
 * @returns undefined when nothing is near
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const meant = plain(name)
  const ranked = known
    .map((candidate) => ({ candidate, edits: countEdits(meant, plain(candidate)) }))
    .sort((a, b) => a.edits - b.edits)
  const best = ranked[0]
  return best && best.edits <= Math.min(3, Math.max(1, Math.floor(meant.length / 2)))
    ? best.candidate
    : undefined
}

function plain(name: string): string {
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
