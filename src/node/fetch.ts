import { FaultError } from '../core/faults/fault.ts'
import type { IssueRequest } from '../core/imports/calls.ts'
import type { Lease } from '../core/ports/leases.ts'
import type { SecretData, SecretStore } from '../core/ports/vault.ts'
import type { Answers } from '../core/render/answers.ts'
import type { Config } from '../core/settings/config.ts'
import { LargeImportFound } from './large-imports.ts'
import type { LeasedPaths } from './leases/leased-paths.ts'
import type { Leases } from './leases/leases.ts'
import type { Logins } from './logins.ts'
import type { Plan, Planning } from './plan.ts'
import type { ReadCache, Reads } from './read-cache.ts'
import { type RenderInput, SMALL_IMPORT_BYTES, type Volume } from './volume.ts'

/** How often a path of an import may turn out to give each reader a lease. */
const MOST_FINDINGS = 8

/** Vault's answers for one volume. */
export type Fetched = {
  /** Without paths that turned out to give each reader a lease. */
  plan: Plan
  input: RenderInput
  answers: Answers
  /** When the oldest answer was given, by Clock.monotonic(). */
  at: number
  /** Of the answers that volumes share. */
  sizeBytes: number
  /** All leases that the files are made of. */
  leases: readonly Lease[]
  /** Those of them that the volume does not have yet: revoke them if they do not reach a file. */
  issued: readonly Lease[]
  /** Something was to be issued, even if there was nothing. */
  hasMissing: boolean
}

export type FetchOptions = {
  /** To be issued, when the caller has renewed the volume's leases; undefined: they are renewed first. */
  missing?: readonly IssueRequest[]
  /** See ReadOptions. */
  isWoken?: boolean
}

export type Fetching = {
  /**
   * Reads Vault and issues the leases that the volume lacks.
   * @throws FaultError login_*, read_*, import_too_large, …; LargeImportFound
   */
  fetch(plan: Plan, volume: Volume, options: FetchOptions, signal: AbortSignal): Promise<Fetched>
  /** The input of a render from these shared answers and leases. */
  inputOf(plan: Plan, digests: ReadonlyMap<string, string>, leases: readonly Lease[]): RenderInput
}

export function createFetching(deps: {
  settings: Pick<Config, 'maxVolumeBytes'>
  store: Pick<SecretStore, 'discardToken' | 'authority'>
  planning: Pick<Planning, 'again'>
  logins: Logins
  leases: Pick<Leases, 'renew' | 'issue'>
  leasedPaths: LeasedPaths
  readCache: Pick<ReadCache, 'read'>
}): Fetching {
  const { settings, store, planning, logins, leases, leasedPaths, readCache } = deps

  /**
   * Reads the paths that volumes share. A path that turns out to give each reader a lease is not read again: the token
   * that asked is given up, and the lease with it; the plan comes back without the path.
   */
  async function readOnce(
    plan: Plan,
    volume: Volume,
    { isWoken = false }: FetchOptions,
    signal: AbortSignal,
  ): Promise<{ plan: Plan } & ({ reads: Reads; sizeBytes: number } | { reads: undefined })> {
    const { spec, identity, paths, intervalMs } = plan
    const who = { spec, identity, pod: volume.entry.pod, tokens: volume.tokensByAudience }
    let sizeBytes = 0
    const onSize = (total: number) => {
      sizeBytes = total
      checkSize(volume, total)
    }
    const reads = await logins.run(who, signal, (tokens) =>
      readCache.read(identity, paths, { tokens, intervalMs, isWoken, onSize, signal }),
    )
    const leased = [...reads.answers].flatMap(([path, answer]) =>
      'lease' in answer && answer.lease !== undefined ? [{ path, id: answer.lease.id }] : [],
    )
    if (leased.length === 0) return { plan, reads, sizeBytes }
    const news = leased.filter(({ path, id }) => leasedPaths.add(identity, path, id))
    if (news.length > 0) await store.discardToken(identity, signal)
    return { plan: planning.again(plan), reads: undefined }
  }

  async function readShared(
    plan: Plan,
    volume: Volume,
    options: FetchOptions,
    signal: AbortSignal,
  ): Promise<{ plan: Plan; reads: Reads; sizeBytes: number }> {
    let known = plan
    for (let findings = 0; findings < MOST_FINDINGS; findings += 1) {
      const { plan: next, ...answered } = await readOnce(known, volume, options, signal)
      if (answered.reads !== undefined) return { plan: next, ...answered }
      known = next
    }
    const reason = `its paths turned out to be leased to each reader ${MOST_FINDINGS} times in a row`
    throw new FaultError('import_too_large', { reason })
  }

  /** As answers arrive, before any of them is rendered. */
  function checkSize(volume: Volume, total: number): void {
    const most = 2 * settings.maxVolumeBytes
    if (total > most) {
      const reason = `its answers hold more than ${most} bytes, twice what a volume may hold`
      throw new FaultError('import_too_large', { reason })
    }
    if (total > SMALL_IMPORT_BYTES && !volume.isLarge) throw new LargeImportFound()
  }

  function authorityOf({ endpoint }: Plan['identity']): string | undefined {
    return endpoint.caCert ?? store.authority(endpoint)
  }

  function inputOf(
    { spec, identity }: Plan,
    digests: ReadonlyMap<string, string>,
    leases: readonly Lease[],
  ): RenderInput {
    const all = new Map(digests)
    for (const { request, id } of leases) all.set(request.key, id)
    const writesCa = spec.credentials.some(({ format }) => format === 'CABundle')
    if (writesCa) all.set('authority', authorityOf(identity) ?? '')
    return { spec, digests: all }
  }

  function answersOf(
    { identity, spec }: Plan,
    reads: Reads,
    leases: readonly Lease[],
    absent: ReadonlyMap<string, FaultError>,
  ): Answers {
    const issued = new Map(leases.map(({ request, data }) => [request.key, data]))
    return {
      of(key): SecretData | FaultError {
        const answer = reads.answers.get(key) ?? issued.get(key) ?? absent.get(key)
        if (answer !== undefined) return answer
        return new FaultError('internal', { reason: `"${key}" of import "${spec.name}" was not asked for` })
      },
      vaultAddr: identity.endpoint.address,
      authority: authorityOf(identity),
    }
  }

  return {
    async fetch(planned, volume, options, signal) {
      const { plan, reads, sizeBytes } = await readShared(planned, volume, options, signal)
      const { spec, perVolumeIdentity } = plan
      const known = plan === planned ? options.missing : undefined
      const missing = known ?? (await leases.renew(volume, plan, signal)).missing
      const who = {
        spec,
        identity: perVolumeIdentity,
        pod: volume.entry.pod,
        tokens: volume.tokensByAudience,
      }
      const { issued, absent } = await leases.issue(missing, perVolumeIdentity, {
        volume,
        withTokens: (task) => logins.run(who, signal, task),
        signal,
      })
      const all = [...volume.leases.activeExcept(missing), ...issued]
      return {
        plan,
        input: inputOf(plan, reads.digests, all),
        answers: answersOf(plan, reads, all, absent),
        at: reads.at,
        sizeBytes,
        leases: all,
        issued,
        hasMissing: missing.length > 0,
      }
    },
    inputOf,
  }
}

export function isSameInput(last: RenderInput | undefined, now: RenderInput): boolean {
  if (last === undefined || last.spec !== now.spec || last.digests.size !== now.digests.size) return false
  for (const [key, digest] of now.digests) if (last.digests.get(key) !== digest) return false
  return true
}
