import { FaultError, toFault } from '../core/faults/fault.ts'
import type { IssueRequest } from '../core/imports/calls.ts'
import { sizeOf } from '../core/json/value.ts'
import type { Lease } from '../core/ports/leases.ts'
import type { Sandbox } from '../core/ports/sandbox.ts'
import type { SecretData, SecretStore } from '../core/ports/vault.ts'
import type { RenderedFile } from '../core/ports/volume.ts'
import type { Answers } from '../core/render/answers.ts'
import type { Config } from '../core/settings/config.ts'
import { TooHeavy } from './large-imports.ts'
import type { LeasedPaths } from './leases/leased-paths.ts'
import type { Leases } from './leases/leases.ts'
import type { Logins } from './logins.ts'
import { factsOf, type Plan, type Planning } from './plan.ts'
import type { Look, Lookups } from './read-cache.ts'
import { type Basis, heldBy, LIGHT_BYTES, type MountedVolume } from './volumes.ts'

/** What is issued stays in memory for as long as the volume lives, in characters. */
const MOST_ISSUED = 128 * 1024
/** How often a path of an import may turn out to give each asker something of his own. */
const MOST_FINDINGS = 8

export type Collected = {
  plan: Plan
  basis: Basis
  files: RenderedFile[]
  /** When the oldest answer was given, by Clock.monotonic(). */
  at: number
  /** What it takes in memory: answers or files, whichever are larger, in bytes. */
  weight: number
  /** Issued for these files, and held by no volume yet. */
  fresh: readonly Lease[]
}

/** The answers are those that the volume's files were made from. */
export type Unchanged = { plan: Plan; basis: Basis; files: undefined; at: number; weight: number }

export type How = {
  /** What must be issued, when the caller has found out. */
  missing?: readonly IssueRequest[]
  /** See Ask. */
  isWoken?: boolean
}

/** Asks Vault for what a plan says, and makes files of it. */
export type Collecting = {
  /**
   * Reads Vault, has issued what the volume does not hold, and renders. The basis' verdict says why the answers could
   * not become files; nothing that was issued is left then.
   * @throws FaultError login_*, read_*, import_too_large, …; TooHeavy, see flow/weighing.ts
   */
  collect(plan: Plan, volume: MountedVolume, signal: AbortSignal): Promise<Collected>
  /** The same, but renders only what the volume has not: a template takes a second process. */
  collectChanged(
    plan: Plan,
    volume: MountedVolume,
    signal: AbortSignal,
    how: How,
  ): Promise<Collected | Unchanged>
  /** What files are made from, to be told from other answers: those of all, and which issues of the volume's own. */
  digests(plan: Plan, seen: ReadonlyMap<string, string>, held: readonly Lease[]): ReadonlyMap<string, string>
}

export function createCollecting(deps: {
  settings: Pick<Config, 'maxVolumeBytes'>
  store: Pick<SecretStore, 'discardToken' | 'authority'>
  planning: Pick<Planning, 'again'>
  logins: Logins
  leases: Pick<Leases, 'keep' | 'issue' | 'discard'>
  leasedPaths: LeasedPaths
  lookups: Pick<Lookups, 'read'>
  sandbox: Pick<Sandbox, 'render'>
}): Collecting {
  const { settings, store, planning, logins, leases, leasedPaths, lookups, sandbox } = deps

  /**
   * Reads what all share. A path that turns out to give each asker something of his own is read no more: what it gave
   * is taken back with the token that asked, and the plan comes back without it.
   */
  async function lookOnce(
    plan: Plan,
    volume: MountedVolume,
    signal: AbortSignal,
    { isWoken = false }: How,
  ): Promise<{ plan: Plan } & ({ seen: Look; weight: number } | { seen: undefined })> {
    const { spec, identity, paths, intervalMs } = plan
    const who = { spec, identity, pod: volume.entry.pod, tokens: volume.tokens }
    let weight = 0
    const weigh = (total: number) => {
      weight = total
      checkWeight(volume, total)
    }
    const seen = await logins.run(who, signal, (tokens) =>
      lookups.read(identity, paths, { tokens, intervalMs, isWoken, weigh, signal }),
    )
    const leased = [...seen.answers].flatMap(([path, answer]) =>
      'lease' in answer && answer.lease !== undefined ? [{ path, id: answer.lease.id }] : [],
    )
    if (leased.length === 0) return { plan, seen, weight }
    const news = leased.filter(({ path, id }) => leasedPaths.add(identity, path, id))
    if (news.length > 0) await store.discardToken(identity, signal)
    return { plan: planning.again(plan), seen: undefined }
  }

  async function look(
    plan: Plan,
    volume: MountedVolume,
    signal: AbortSignal,
    how: How,
  ): Promise<{ plan: Plan; seen: Look; weight: number }> {
    let known = plan
    for (let findings = 0; findings < MOST_FINDINGS; findings += 1) {
      const { plan: next, ...looked } = await lookOnce(known, volume, signal, how)
      if (looked.seen !== undefined) return { plan: next, ...looked }
      known = next
    }
    const reason = `its paths turned out to be leased to each reader ${MOST_FINDINGS} times in a row`
    throw new FaultError('import_too_large', { reason })
  }

  /** As answers arrive, and before any of them is made into anything. */
  function checkWeight(volume: MountedVolume, total: number): void {
    const most = 2 * settings.maxVolumeBytes
    if (total > most) {
      const reason = `its answers hold more than ${most} bytes, twice what a volume may hold`
      throw new FaultError('import_too_large', { reason })
    }
    if (total > LIGHT_BYTES && !volume.isHeavy) throw new TooHeavy()
  }

  function checkFiles(volume: MountedVolume, files: readonly RenderedFile[]): number {
    const total = files.reduce((sum, { content }) => sum + content.byteLength, 0)
    if (total > LIGHT_BYTES && !volume.isHeavy) throw new TooHeavy()
    return total
  }

  function digests(
    { spec, identity }: Plan,
    seen: ReadonlyMap<string, string>,
    held: readonly Lease[],
  ): ReadonlyMap<string, string> {
    const all = new Map(seen)
    for (const { request, id } of held) all.set(request.key, id)
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
    held: readonly Lease[],
    absent: ReadonlyMap<string, FaultError>,
  ): Answers {
    const issued = new Map(held.map(({ request, data }) => [request.key, data]))
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

  async function gather(planned: Plan, volume: MountedVolume, signal: AbortSignal, how: How) {
    const { plan, seen, weight } = await look(planned, volume, signal, how)
    const { spec, perVolumeIdentity, issueRequests } = plan
    const known = plan === planned ? how.missing : undefined
    const missing = known ?? (await leases.keep(volume, issueRequests, perVolumeIdentity, signal)).missing
    const who = { spec, identity: perVolumeIdentity, pod: volume.entry.pod, tokens: volume.tokens }
    const { fresh, absent } = await leases.issue(missing, perVolumeIdentity, {
      volume,
      withTokens: (task) => logins.run(who, signal, task),
      signal,
    })
    const held = [...heldBy(volume, missing), ...fresh]
    const basis = { spec, digests: digests(plan, seen.digests, held) }
    return { plan, seen, weight, missing, fresh, absent, held, basis }
  }

  async function render(
    { plan, seen, weight, fresh, absent, held, basis }: Awaited<ReturnType<typeof gather>>,
    volume: MountedVolume,
    signal: AbortSignal,
  ): Promise<Collected> {
    try {
      checkIssued(held)
      const { updateMode, fsGroup: gid } = volume.entry
      const shape = { updateMode, gid, sizeBytes: settings.maxVolumeBytes }
      const files = await sandbox.render(plan.spec, answersOf(plan, seen, held, absent), shape, signal)
      const total = Math.max(weight, checkFiles(volume, files))
      return { plan, basis: { ...basis, verdict: undefined }, files, at: seen.at, weight: total, fresh }
    } catch (error) {
      await leases.discard(volume, fresh)
      if (error instanceof TooHeavy) throw error
      signal.throwIfAborted()
      const verdict = toFault(error).with(factsOf(plan.identity))
      if (!isLastWord(verdict)) throw verdict
      return { plan, basis: { ...basis, verdict }, files: [], at: seen.at, weight, fresh: [] }
    }
  }

  return {
    async collect(plan, volume, signal) {
      return render(await gather(plan, volume, signal, {}), volume, signal)
    },
    async collectChanged(planned, volume, signal, how) {
      const gathered = await gather(planned, volume, signal, how)
      const { plan, seen, weight, missing, basis } = gathered
      if (missing.length > 0 || !isSameBasis(volume.basis, basis)) return render(gathered, volume, signal)
      return { plan, basis: volume.basis, files: undefined, at: seen.at, weight }
    },
    digests,
  }
}

export function isSameBasis(basis: Basis | undefined, now: Pick<Basis, 'spec' | 'digests'>): basis is Basis {
  if (basis === undefined || basis.spec !== now.spec || basis.digests.size !== now.digests.size) return false
  for (const [path, digest] of now.digests) if (basis.digests.get(path) !== digest) return false
  return true
}

function checkIssued(held: readonly Lease[]): void {
  const total = held.reduce((sum, { data }) => sum + sizeOf(data.values), 0)
  if (total <= MOST_ISSUED) return
  const reason = `what is issued for it holds ${total} bytes, the limit is ${MOST_ISSUED}`
  throw new FaultError('import_too_large', { reason })
}

/** Whether the same answers would fail again. Work that was ended may have been ended on a node that was busy. */
function isLastWord({ fault, facts }: FaultError): boolean {
  return facts.endedBy === undefined && fault !== 'internal' && fault !== 'shutting_down'
}
