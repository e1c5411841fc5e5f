import type { UpdateMode } from '../imports/import.ts'
import type { SecretBytes } from '../secret.ts'
import type { Pod } from './pod.ts'

/** tmpfs mounts. All calls are for memory file systems and return in microseconds, hence synchronous. */
export type Mounter = {
  /**
   * Makes the directory `targetPath`, whose parent exists, and mounts a new tmpfs on it.
   * @throws FaultError mount_failed
   */
  mount(targetPath: string, options: { sizeBytes: number; gid: number | undefined }): void
  /**
   * Gives the tmpfs on `targetPath` another size.
   * @throws FaultError mount_failed, also when it holds more than that already
   */
  resize(targetPath: string, sizeBytes: number): void
  /** Bytes that a tmpfs of this machine sets aside at a time. */
  readonly pageBytes: number
  /**
   * Unmounts until nothing is mounted on `targetPath` and removes the directory; anything already gone is success.
   * @throws FaultError mount_failed
   */
  unmount(targetPath: string): void
  /** Every mount point of this mount namespace with the file system's type. */
  list(): ReadonlyMap<string, string>
  isMounted(targetPath: string): boolean
}

/** One file as it must stand in the volume. */
export type RenderedFile = {
  name: string
  content: SecretBytes
  /** Permission bits. */
  mode: number
}

export type VolumeShape = {
  updateMode: UpdateMode
  /** Group of the files; undefined leaves root's. */
  gid: number | undefined
  /** Size of the tmpfs in bytes. */
  sizeBytes: number
}

/** The files of one mounted volume. */
export type VolumeFiles = {
  /**
   * Makes the volume hold exactly `files`, for the first time or again: unchanged files are not touched,
   * changed ones change as the update mode promises. Repairs the leftovers of a crash.
   * @throws FaultError volume_full before anything is touched, volume_io
   */
  apply(
    targetPath: string,
    shape: VolumeShape,
    files: readonly RenderedFile[],
  ): Promise<{ changed: string[]; added: string[]; removed: string[] }>
  /** Finishes the write of a killed process, from the files only. False: there is no complete set of files. */
  repair(targetPath: string, shape: VolumeShape): Promise<boolean>
  /** The update mode of the files that are there; undefined where there are none. */
  found(targetPath: string): UpdateMode | undefined
  /** Deletes all files, before unmounting. Never throws. */
  wipe(targetPath: string): void
}

/** One mounted volume: survives a restart, holds no secret and no token. */
export type LedgerEntry = {
  volumeId: string
  targetPath: string
  readOnly: boolean
  fsGroup: number | undefined
  pod: Pod
  importName: string
  fingerprint: string
  updateMode: UpdateMode
  sizeBytes: number
  /** Opens the volume's lease store; undefined for volumes that never had a lease. */
  leaseStoreKey: string | undefined
  /** mounting: killed in this phase, the target holds no complete files and is removed at start. */
  phase: 'mounting' | 'complete'
}

export type LedgerStore = {
  /** Reads all entries; unreadable ones are logged and left out. */
  load(): LedgerEntry[]
  put(entry: LedgerEntry): void
  remove(targetPath: string): void
}

export type VolumeStats = {
  bytes: { total: number; used: number; available: number }
  inodes: { total: number; used: number; available: number }
}
