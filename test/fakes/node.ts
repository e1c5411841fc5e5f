import { FaultError } from '../../src/core/faults/fault.ts'
import type { Lease, LeaseStore } from '../../src/core/ports/leases.ts'
import type {
  LedgerEntry,
  LedgerStore,
  Mounter,
  RenderedFile,
  VolumeFiles,
  VolumeShape,
} from '../../src/core/ports/volume.ts'
import { createLeaseStore } from '../../src/volume/lease-store.ts'

/** Mounts and files in memory: what the kernel would keep when our process dies. */
export class FakeNode {
  /** By target path; a mount without files is an empty map. */
  readonly mounts = new Map<string, Map<string, string>>()
  readonly writes: string[] = []
  /** Of each mounted tmpfs, in bytes, by target path. */
  readonly sizes = new Map<string, number>()
  failResizeWith: FaultError | undefined
  failWriteWith: FaultError | undefined
  readonly leaseStore = new FakeLeaseStore(this.mounts)

  readonly mounter: Mounter = {
    mount: (targetPath, { sizeBytes }) => {
      if (this.mounts.has(targetPath)) throw new FaultError('mount_failed', { reason: 'mounted twice' })
      this.mounts.set(targetPath, new Map())
      this.sizes.set(targetPath, sizeBytes)
    },
    resize: (targetPath, sizeBytes) => {
      if (!this.mounts.has(targetPath)) throw new FaultError('mount_failed', { reason: 'not mounted' })
      if (this.failResizeWith) throw this.failResizeWith
      this.sizes.set(targetPath, sizeBytes)
    },
    pageBytes: 4096,
    unmount: (targetPath) => {
      this.mounts.delete(targetPath)
      this.sizes.delete(targetPath)
      this.leaseStore.sealed.delete(targetPath)
    },
    list: () => new Map([...this.mounts.keys()].map((targetPath) => [targetPath, 'tmpfs'])),
    isMounted: (targetPath) => this.mounts.has(targetPath),
  }

  readonly files: VolumeFiles = {
    apply: async (targetPath: string, _shape: VolumeShape, files: readonly RenderedFile[]) => {
      const mounted = this.mounts.get(targetPath)
      if (mounted === undefined) throw new FaultError('volume_io', { reason: 'not mounted' })
      if (this.failWriteWith) throw this.failWriteWith
      const before = new Map(mounted)
      mounted.clear()
      for (const file of files) mounted.set(file.name, file.content.reveal().toString())
      const names = files.map((file) => file.name)
      const added = names.filter((name) => !before.has(name))
      const changed = names.filter((name) => before.has(name) && before.get(name) !== mounted.get(name))
      const removed = [...before.keys()].filter((name) => !mounted.has(name))
      if (added.length + changed.length + removed.length > 0) this.writes.push(targetPath)
      return { added, changed, removed }
    },
    repair: async (targetPath) => (this.mounts.get(targetPath)?.size ?? 0) > 0,
    found: (targetPath) => ((this.mounts.get(targetPath)?.size ?? 0) > 0 ? 'Live' : undefined),
    wipe: (targetPath) => this.mounts.get(targetPath)?.clear(),
  }
}

/** The real one over attributes in memory: they go with the mount. */
export class FakeLeaseStore implements LeaseStore {
  /** By target path: what the kernel would hold, as an onlooker sees it. */
  readonly sealed = new Map<string, Buffer>()
  /** As on a node where the kernel refuses the attribute. */
  isRefused = false
  readonly #store: LeaseStore

  constructor(mounts: ReadonlyMap<string, unknown>) {
    this.#store = createLeaseStore({
      attribute: {
        set: (targetPath, value) => {
          if (this.isRefused || !mounts.has(targetPath)) throw new Error('refused')
          this.sealed.set(targetPath, Buffer.from(value))
        },
        get: (targetPath) => this.sealed.get(targetPath),
        remove: (targetPath) => void this.sealed.delete(targetPath),
      },
    })
  }

  newKey(): string {
    return this.#store.newKey()
  }

  put(targetPath: string, key: string, leases: readonly Lease[]): boolean {
    return this.#store.put(targetPath, key, leases)
  }

  get(targetPath: string, key: string): Lease[] | undefined {
    return this.#store.get(targetPath, key)
  }
}

export class FakeLedger implements LedgerStore {
  /** Copies, as a disk would keep them. */
  readonly entries = new Map<string, LedgerEntry>()

  load(): LedgerEntry[] {
    return structuredClone([...this.entries.values()])
  }

  put(entry: LedgerEntry): void {
    this.entries.set(entry.targetPath, structuredClone(entry))
  }

  remove(targetPath: string): void {
    this.entries.delete(targetPath)
  }
}
