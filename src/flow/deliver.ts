import type { Config } from '../core/config.ts'
import { type Facts, FaultError, toFault } from '../core/errors.ts'
import { pickToken, resolveIdentity } from '../core/identity.ts'
import type { ImportSpec } from '../core/import.ts'
import { checkPolicy } from '../core/policy.ts'
import type {
  Identity,
  ImportSource,
  Pod,
  References,
  RenderedFile,
  SecretStore,
  ServiceAccountToken,
  TokenSource,
  VolumeFiles,
  VolumeShape,
} from '../core/ports.ts'
import { renderFiles } from '../core/render.ts'
import type { Gate } from './gate.ts'
import type { Answer, Look, Lookups } from './lookups.ts'
import type { Queue } from './queue.ts'
import type { Release } from './release.ts'
import type { Basis, MountedVolume, Volumes } from './volumes.ts'

/** A look older than this part of the interval is made anew; under 0.9, the shortest jittered interval. */
const SHARED_LOOK = 0.85

/** Service-account tokens by audience. */
type Tokens = ReadonlyMap<string, ServiceAccountToken>

/** What is to be read, as whom. */
export type Plan = {
  spec: ImportSpec
  identity: Identity
  paths: readonly string[]
  intervalMs: number
}

export type Collected = { basis: Basis; files: RenderedFile[]; at: number }

export type Refreshed = { changed: string[]; at: number }

/**
 * From an import to files: the one way that first publish and rotation share.
 */
export type Delivery = {
  /** @throws FaultError import_*, reference_*, policy_refused */
  plan(pod: Pod, importName: string, signal: AbortSignal): Promise<Plan>
  /** Reads Vault and renders. The basis' verdict says why the answers could not become files. @throws FaultError login_*, read_*, … */
  collect(
    plan: Plan,
    pod: Pod,
    tokens: Tokens,
    fsGroup: number | undefined,
    signal: AbortSignal,
  ): Promise<Collected>
  /**
   * Brings a mounted volume in step, with a look that others made if there is one.
   * @param sinceMs how long ago this volume's own look was due: what others saw in most of this time will do
   */
  refresh(volume: MountedVolume, plan: Plan, sinceMs: number, signal: AbortSignal): Promise<Refreshed>
}

export function createDelivery(deps: {
  settings: Config
  imports: Pick<ImportSource, 'get'>
  store: Pick<SecretStore, 'retain'>
  release: Release
  tokenSource: TokenSource
  references: References
  lookups: Lookups
  files: VolumeFiles
  volumes: Volumes
  queue: Queue
  gate: Gate
}): Delivery {
  const { settings, imports, store, release, tokenSource, references, lookups, files, volumes, queue, gate } =
    deps

  async function plan(pod: Pod, importName: string, signal: AbortSignal): Promise<Plan> {
    const spec = imports.get(pod.namespace, importName)
    checkPolicy(spec, settings)
    const { caCertRef } = spec
    const caCert = caCertRef ? await references.caCert(pod.namespace, caCertRef, signal) : spec.caCert
    return {
      spec,
      identity: resolveIdentity(spec, settings, pod, caCert),
      paths: [...new Set(spec.files.map((file) => file.path))],
      intervalMs: spec.refreshIntervalMs ?? settings.rotationIntervalMs,
    }
  }

  /** The pod's own token first; another pod of the same identity may hold a younger one. */
  function tokensFor(identity: Identity, own: Tokens): ServiceAccountToken[] {
    const best = pickToken(own, identity.audience)
    const others: ServiceAccountToken[] = []
    for (const volume of volumes.ofIdentity(identity.key)) {
      const token = pickToken(volume.tokens, identity.audience)
      if (token !== undefined && token !== best) others.push(token)
    }
    others.sort((a, b) => b.expiresAt - a.expiresAt)
    return best === undefined ? others.slice(0, 3) : [best, ...others.slice(0, 2)]
  }

  /** An audience of the import's own, which kubelet's tokens do not have, is asked for only when a login needs it. */
  async function look(plan: Plan, pod: Pod, own: Tokens, signal: AbortSignal): Promise<Look> {
    const { identity, paths, intervalMs } = plan
    const read = (tokens: readonly ServiceAccountToken[]) =>
      lookups.read(identity, paths, { tokens, intervalMs, signal })
    const known = tokensFor(identity, own)
    try {
      return await read(known)
    } catch (error) {
      if (identity.audience === '' || toFault(error).fault !== 'token_missing') throw error
      const token = await tokenSource.request(pod, identity.audience, signal)
      if (token === undefined) throw error
      return await read([token, ...known])
    }
  }

  async function collect(
    plan: Plan,
    pod: Pod,
    tokens: Tokens,
    fsGroup: number | undefined,
    signal: AbortSignal,
  ): Promise<Collected> {
    const { spec, identity } = plan
    const seen = await look(plan, pod, tokens, signal)
    try {
      const rendered = renderFiles(spec, (path) => answerTo(seen, path), fsGroup)
      return { basis: { spec, digests: seen.digests, verdict: undefined }, files: rendered, at: seen.at }
    } catch (error) {
      const verdict = toFault(error).with(factsOf(identity))
      return { basis: { spec, digests: seen.digests, verdict }, files: [], at: seen.at }
    }
  }

  /** Reads as the import's present identity; after an edit that is another one than the volume keeps alive. */
  async function collectAs(volume: MountedVolume, plan: Plan, signal: AbortSignal): Promise<Collected> {
    const { identity } = plan
    const { volumeId, pod, fsGroup } = volume.entry
    const before = volume.identity
    const isNew = before?.key !== identity.key
    store.retain(identity, volumeId)
    try {
      const collected = await collect(plan, pod, volume.tokens, fsGroup, signal)
      volumes.identify(volume, identity)
      if (isNew && before !== undefined) await release(before.key, volumeId)
      if (isGone(volume)) await release(identity.key, volumeId)
      return collected
    } catch (error) {
      if (isNew || isGone(volume)) await release(identity.key, volumeId)
      throw error
    }
  }

  /** Unpublished while Vault was asked: nobody else will let go of what was taken for it. */
  function isGone(volume: MountedVolume): boolean {
    return volumes.get(volume.entry.targetPath) !== volume
  }

  /** Writes, unless the volume went while Vault was asked. */
  async function applyTo(volume: MountedVolume, basis: Basis, rendered: RenderedFile[]): Promise<string[]> {
    const { entry } = volume
    if (isGone(volume)) return []
    // Until the files stand, nothing is known about them: a failed write is made again at the next look.
    volume.basis = undefined
    const { changed, added, removed } = await gate(() =>
      files.apply(entry.targetPath, shapeOf(entry), rendered),
    )
    volume.basis = basis
    return [...changed, ...added, ...removed]
  }

  async function refresh(
    volume: MountedVolume,
    plan: Plan,
    sinceMs: number,
    signal: AbortSignal,
  ): Promise<Refreshed> {
    const { spec, identity, paths } = plan
    const recent = lookups.recent(identity, paths, sinceMs * SHARED_LOOK)
    if (recent !== undefined && isSameBasis(volume.basis, spec, recent.digests)) {
      if (volume.basis.verdict !== undefined) throw volume.basis.verdict
      return { changed: [], at: recent.at }
    }
    const { basis, files: rendered, at } = await collectAs(volume, plan, signal)
    if (basis.verdict !== undefined) {
      volume.basis = basis
      throw basis.verdict
    }
    // Only the writing stands in the volume's queue: a slow Vault must not hold up an unpublish.
    const changed = await queue.run(volume.entry.targetPath, () => applyTo(volume, basis, rendered))
    return { changed, at }
  }

  return { plan, collect, refresh }
}

export function shapeOf(entry: MountedVolume['entry']): VolumeShape {
  return { updateMode: entry.updateMode, gid: entry.fsGroup, sizeBytes: entry.sizeBytes }
}

function answerTo(look: Look, path: string): Answer {
  const answer = look.answers.get(path)
  if (answer === undefined) throw new FaultError('internal', { reason: 'a path of the import was not read' })
  return answer
}

function isSameBasis(
  basis: Basis | undefined,
  spec: ImportSpec,
  digests: ReadonlyMap<string, string>,
): basis is Basis {
  if (basis === undefined || basis.spec !== spec) return false
  for (const [path, digest] of digests) if (basis.digests.get(path) !== digest) return false
  return true
}

/** Who asked, for the message of a fault that Vault did not give. */
export function factsOf(identity: Identity): Facts {
  const { endpoint, authMount, role, podNamespace, serviceAccount } = identity
  return { address: endpoint.address, authMount, role, podNamespace, serviceAccount }
}
