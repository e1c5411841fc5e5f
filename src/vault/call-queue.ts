/** One call in the queue. */
export type Waiter = {
  /** Kubernetes namespace that it counts for. */
  asker: string
  /** Vault namespace and mount that it calls. */
  mount: string
  /** Goes before the other calls of its asker. */
  isUrgent: boolean
}

/**
 * A round robin over askers: however many calls one has waiting, the others are not delayed, and one that was quiet goes
 * first. Among the calls of one asker the urgent ones go first, then a round robin over its mounts.
 */
export type CallQueue<W extends Waiter> = {
  readonly size: number
  countOf(asker: string): number
  add(waiter: W): void
  /** For an aborted call; the cost does not depend on its position. */
  remove(waiter: W): void
  /** Takes out the next of those that may start. */
  take(mayGo: (asker: string, mount: string) => boolean): W | undefined
  /** Takes out all calls of the askers and mounts that match. */
  drop(matches: (asker: string, mount: string) => boolean): W[]
}

/** The calls of one asker to one mount, oldest first. */
type Line<W> = { urgent: Set<W>; others: Set<W> }

type Asker<W> = {
  /** Calls served, counted as if it had always waited: the asker with the fewest goes first. */
  served: number
  count: number
  /** The one served last comes last. */
  lines: Map<string, Line<W>>
}

export function createCallQueue<W extends Waiter>(): CallQueue<W> {
  const askers = new Map<string, Asker<W>>()
  /** The count of the asker served last: one that comes back from a rest starts here, and gains nothing by the rest. */
  let round = 0
  let size = 0

  /** An asker without calls and without a lead is the same as a new one. */
  const forgetQuiet = () => {
    for (const [name, { count, served }] of askers) if (count === 0 && served <= round) askers.delete(name)
  }

  const askerOf = (name: string): Asker<W> => {
    const known = askers.get(name)
    if (known !== undefined) return known
    forgetQuiet()
    const asker: Asker<W> = { served: round, count: 0, lines: new Map() }
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
    round = Math.max(round, asker.served)
    asker.served = Math.max(asker.served, round) + 1
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
      let best: { waiter: W; served: number } | undefined
      for (const [name, asker] of askers) {
        const served = Math.max(asker.served, round)
        if (asker.count === 0 || (best && served > best.served)) continue
        const waiter = nextOf(asker, (mount) => mayGo(name, mount))
        if (waiter === undefined) continue
        const isBetter =
          best === undefined || served < best.served || (waiter.isUrgent && !best.waiter.isUrgent)
        if (isBetter) best = { waiter, served }
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
