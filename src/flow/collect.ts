import type { Order } from '../core/call.ts'
import { FaultError, toFault } from '../core/errors.ts'
import type { Holding } from '../core/issued.ts'
import type { RenderedFile } from '../core/mounted.ts'
import type { SecretData, SecretStore } from '../core/ports.ts'
import type { Answers } from '../core/render.ts'
import type { Sandbox } from '../core/sandbox.ts'
import type { LeasedPaths } from './leased-paths.ts'
import type { Leases } from './leases.ts'
import type { Logins } from './logins.ts'
import type { Look, Lookups } from './lookups.ts'
import { factsOf, type Plan, type Planning } from './plan.ts'
import { type Basis, heldBy, type MountedVolume } from './volumes.ts'

export type Collected = {
  plan: Plan
  basis: Basis
  files: RenderedFile[]
  /** When the oldest answer was given: milliseconds since the Unix epoch. */
  at: number
  /** Issued for these files, and held by no volume yet. */
  fresh: readonly Holding[]
}

/** Asks Vault for what a plan says, and makes files of it. */
export type Collecting = {
  /**
   * Reads Vault, has issued what the volume does not hold, and renders. The basis' verdict says why the answers could
   * not become files; nothing that was issued is left then.
   * @param missing what must be issued, when the caller has found out
   * @throws FaultError login_*, read_*, …
   */
  collect(
    plan: Plan,
    volume: MountedVolume,
    signal: AbortSignal,
    missing?: readonly Order[],
  ): Promise<Collected>
  /** What files are made from, to be told from other answers: those of all, and which issues of the volume's own. */
  digests(
    plan: Plan,
    seen: ReadonlyMap<string, string>,
    held: readonly Holding[],
  ): ReadonlyMap<string, string>
}

export function createCollecting(deps: {
  store: Pick<SecretStore, 'retire' | 'authority'>
  planning: Pick<Planning, 'again'>
  logins: Logins
  leases: Pick<Leases, 'keep' | 'issue' | 'discard'>
  leasedPaths: LeasedPaths
  lookups: Pick<Lookups, 'read'>
  sandbox: Pick<Sandbox, 'render'>
}): Collecting {
  const { store, planning, logins, leases, leasedPaths, lookups, sandbox } = deps

  /**
   * Reads what all share. A path that turns out to give each asker something of his own is read no more: what it gave
   * is taken back with the token that asked, and the plan comes back without it.
   */
  async function look(
    plan: Plan,
    volume: MountedVolume,
    signal: AbortSignal,
  ): Promise<{ plan: Plan; seen: Look }> {
    const { spec, identity, paths, intervalMs } = plan
    const who = { spec, identity, pod: volume.entry.pod, tokens: volume.tokens }
    const seen = await logins.run(who, signal, (tokens) =>
      lookups.read(identity, paths, { tokens, intervalMs, signal }),
    )
    const leased = [...seen.answers].flatMap(([path, answer]) =>
      'lease' in answer && answer.lease !== undefined ? [{ path, id: answer.lease.id }] : [],
    )
    if (leased.length === 0) return { plan, seen }
    const news = leased.filter(({ path, id }) => leasedPaths.add(identity.endpoint, path, id))
    if (news.length > 0) await store.retire(identity, signal)
    return look(planning.again(plan), volume, signal)
  }

  function digests(
    { spec, identity }: Plan,
    seen: ReadonlyMap<string, string>,
    held: readonly Holding[],
  ): ReadonlyMap<string, string> {
    const all = new Map(seen)
    for (const { order, id } of held) all.set(order.key, id)
    const writesCa = spec.credentials.some(({ format }) => format === 'CABundle')
    if (writesCa) all.set('authority', authorityOf(identity) ?? '')
    return all
  }

  function authorityOf({ endpoint }: Plan['identity']): string | undefined {
    return endpoint.caCert ?? store.authority(endpoint)
  }

  function answersOf(
    { identity, spec }: Plan,
    seen: Look,
    held: readonly Holding[],
    absent: ReadonlyMap<string, FaultError>,
  ): Answers {
    const issued = new Map(held.map(({ order, data }) => [order.key, data]))
    return {
      of(key): SecretData | FaultError {
        const answer = seen.answers.get(key) ?? issued.get(key) ?? absent.get(key)
        if (answer !== undefined) return answer
        return new FaultError('internal', { reason: `"${key}" of import "${spec.name}" was not asked for` })
      },
      vaultAddr: identity.endpoint.address,
      authority: authorityOf(identity),
    }
  }

  return {
    async collect(planned, volume, signal, known) {
      const { plan, seen } = await look(planned, volume, signal)
      const { spec, identity, own, orders } = plan
      const isKnown = known !== undefined && plan === planned
      const missing = isKnown ? known : (await leases.keep(volume, orders, own, signal)).missing
      const who = { spec, identity: own, pod: volume.entry.pod, tokens: volume.tokens }
      const { fresh, absent } = await leases.issue(missing, own, {
        volume,
        withTokens: (task) => logins.run(who, signal, task),
        signal,
      })
      const held = [...heldBy(volume, missing), ...fresh]
      const basis = { spec, digests: digests(plan, seen.digests, held) }
      try {
        const { updateMode, fsGroup: gid, sizeBytes } = volume.entry
        const answers = answersOf(plan, seen, held, absent)
        const files = await sandbox.render(spec, answers, { updateMode, gid, sizeBytes }, signal)
        return { plan, basis: { ...basis, verdict: undefined }, files, at: seen.at, fresh }
      } catch (error) {
        await leases.discard(volume, fresh)
        signal.throwIfAborted()
        const verdict = toFault(error).with(factsOf(identity))
        if (!isLastWord(verdict)) throw verdict
        return { plan, basis: { ...basis, verdict }, files: [], at: seen.at, fresh: [] }
      }
    },
    digests,
  }
}

/** Whether the same answers would fail again. Work that was ended may have been ended on a node that was busy. */
function isLastWord({ fault, facts }: FaultError): boolean {
  return facts.endedBy === undefined && fault !== 'internal' && fault !== 'shutting_down'
}
