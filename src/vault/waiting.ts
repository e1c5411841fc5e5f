/** One call that waits for its turn. */
export type Waiter = {
  /** Whose turn it uses up. */
  asker: string
  /** What it needs of Vault. */
  mount: string
  /** Goes before what else its asker waits for. */
  isUrgent: boolean
}

/**
 * Calls that wait, by who asks. Askers take turns, and one that was quiet goes first: how many calls another has waiting
 * delays nobody. Among its own calls an asker's urgent ones go first, then its mounts take turns.
 */
export type Waiting<W extends Waiter> = {
  readonly size: number
  countOf(asker: string): number
  add(waiter: W): void
  /** Whoever gives up, at the same price wherever it stands. */
  remove(waiter: W): void
  /** Takes out whose turn it is, of those that may go at all. */
  take(mayGo: (asker: string, mount: string) => boolean): W | undefined
  /** Takes out all of the askers and mounts that match. */
  drop(matches: (asker: string, mount: string) => boolean): W[]
}

/** The calls of one asker to one mount, oldest first. */
type Line<W> = { urgent: Set<W>; others: Set<W> }

type Asker<W> = {
  /** Turns that it has had, counted as if it had always waited: who has had fewer goes first. */
  turns: number
  count: number
  /** In the order in which they were served last. */
  lines: Map<string, Line<W>>
}

export function createWaiting<W extends Waiter>(): Waiting<W> {
  const askers = new Map<string, Asker<W>>()
  /** Turns of the one served last: whoever comes back from a rest starts here, and gains nothing by having rested. */
  let round = 0
  let size = 0

  /** One that waits for nothing and has no turn too many is as good as new. */
  const forgetQuiet = () => {
    for (const [name, { count, turns }] of askers) if (count === 0 && turns <= round) askers.delete(name)
  }

  const askerOf = (name: string): Asker<W> => {
    const known = askers.get(name)
    if (known !== undefined) return known
    forgetQuiet()
    const asker: Asker<W> = { turns: round, count: 0, lines: new Map() }
    askers.set(name, asker)
    return asker
  }

  const remove = (waiter: W) => {
    const asker = askers.get(waiter.asker)
    const line = asker?.lines.get(waiter.mount)
    if (!asker || !line) return
    if (!line.urgent.delete(waiter) && !line.others.delete(waiter)) return
    if (line.urgent.size + line.others.size === 0) asker.lines.delete(waiter.mount)
    asker.count -= 1
    size -= 1
  }

  const serve = (waiter: W) => {
    const asker = askerOf(waiter.asker)
    remove(waiter)
    round = Math.max(round, asker.turns)
    asker.turns = Math.max(asker.turns, round) + 1
    moveToEnd(askers, waiter.asker)
    moveToEnd(asker.lines, waiter.mount)
  }

  return {
    get size() {
      return size
    },
    countOf: (asker) => askers.get(asker)?.count ?? 0,
    add(waiter) {
      const asker = askerOf(waiter.asker)
      const line = asker.lines.get(waiter.mount) ?? { urgent: new Set(), others: new Set() }
      asker.lines.set(waiter.mount, line)
      const side = waiter.isUrgent ? line.urgent : line.others
      side.add(waiter)
      asker.count += 1
      size += 1
    },
    remove,
    take(mayGo) {
      let best: { waiter: W; turns: number } | undefined
      for (const [name, asker] of askers) {
        const turns = Math.max(asker.turns, round)
        if (asker.count === 0 || (best && turns > best.turns)) continue
        const waiter = nextOf(asker, (mount) => mayGo(name, mount))
        if (waiter === undefined) continue
        const isBetter =
          best === undefined || turns < best.turns || (waiter.isUrgent && !best.waiter.isUrgent)
        if (isBetter) best = { waiter, turns }
      }
      if (best !== undefined) serve(best.waiter)
      return best?.waiter
    },
    drop(matches) {
      const dropped: W[] = []
      for (const [name, asker] of askers) {
        for (const [mount, line] of asker.lines) {
          if (matches(name, mount)) dropped.push(...line.urgent, ...line.others)
        }
      }
      for (const waiter of dropped) remove(waiter)
      return dropped
    },
  }
}

function nextOf<W>({ lines }: Asker<W>, mayGo: (mount: string) => boolean): W | undefined {
  let other: W | undefined
  for (const [mount, line] of lines) {
    if (line.urgent.size === 0 && other !== undefined) continue
    if (!mayGo(mount)) continue
    const [urgent] = line.urgent
    if (urgent !== undefined) return urgent
    const [first] = line.others
    other ??= first
  }
  return other
}

function moveToEnd<T>(map: Map<string, T>, key: string): void {
  const value = map.get(key)
  if (value === undefined) return
  map.delete(key)
  map.set(key, value)
}
