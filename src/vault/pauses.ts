import type { Clock } from '../core/ports/clock.ts'

type Who = { asker: string; mount: string }

/** How long calls to one address wait because Vault asked for it. */
export type Pauses = {
  /** Milliseconds that a call is to wait; 0: none. */
  leftMs(who: Who): number
  /**
   * Vault answered a call with 429. The limit met is known only by whom it meets: first it is taken for one of this
   * asker at this mount; when two askers meet it there, for the mount's; when one asker meets it at several mounts, for
   * the asker's; when several meet it at several, for the address's.
   */
  limited(who: Who, pauseMs: number): void
  /** No call is to start. */
  all(pauseMs: number): void
  /** Milliseconds until the first of them ends; undefined: there is none. */
  nextEndMs(): number | undefined
}

/** Refusals further apart than this, in milliseconds, are not of the same limit. */
const WINDOW_MS = 10_000
/** So many refusals are kept at most: more come only with several hundred calls a second. */
const MOST_REFUSALS = 500
const MOUNTS_OF_ASKER = 3
const ASKERS_OF_MOUNT = 2
const ASKERS_OF_ADDRESS = 3

export function createPauses(clock: Pick<Clock, 'monotonic'>): Pauses {
  /** By scope, when it ends. */
  const ends = new Map<string, number>()
  let refusals: (Who & { at: number })[] = []

  const pause = (scope: string, pauseMs: number) => {
    const end = clock.monotonic() + pauseMs
    ends.set(scope, Math.max(end, ends.get(scope) ?? 0))
  }

  const forgetEnded = () => {
    const now = clock.monotonic()
    for (const [scope, end] of ends) if (end <= now) ends.delete(scope)
  }

  const scopesLimited = ({ asker, mount }: Who): string[] => {
    const askersHere = new Set(refusals.filter((one) => one.mount === mount).map((one) => one.asker))
    const mountsOfAsker = new Set(refusals.filter((one) => one.asker === asker).map((one) => one.mount))
    const askers = new Set(refusals.map((one) => one.asker))
    const mounts = new Set(refusals.map((one) => one.mount))
    return [
      scopeOf(asker, mount),
      ...(askersHere.size >= ASKERS_OF_MOUNT ? [scopeOf('', mount)] : []),
      ...(mountsOfAsker.size >= MOUNTS_OF_ASKER ? [scopeOf(asker, '')] : []),
      ...(askers.size >= ASKERS_OF_ADDRESS && mounts.size > 1 ? [EVERY_CALL] : []),
    ]
  }

  return {
    leftMs({ asker, mount }) {
      if (ends.size === 0) return 0
      const scopes = [scopeOf(asker, mount), scopeOf('', mount), scopeOf(asker, ''), EVERY_CALL]
      const now = clock.monotonic()
      return Math.max(0, ...scopes.map((scope) => (ends.get(scope) ?? now) - now))
    },
    limited(who, pauseMs) {
      forgetEnded()
      const now = clock.monotonic()
      const recent = refusals.filter(({ at }) => now - at < WINDOW_MS)
      refusals = [...recent.slice(1 - MOST_REFUSALS), { asker: who.asker, mount: who.mount, at: now }]
      for (const scope of scopesLimited(who)) pause(scope, pauseMs)
    },
    all(pauseMs) {
      forgetEnded()
      pause(EVERY_CALL, pauseMs)
    },
    nextEndMs() {
      forgetEnded()
      if (ends.size === 0) return undefined
      return Math.min(...ends.values()) - clock.monotonic()
    },
  }
}

/** A Kubernetes namespace has no line break in its name. */
function scopeOf(asker: string, mount: string): string {
  return `${asker}\n${mount}`
}

const EVERY_CALL = scopeOf('', '')
