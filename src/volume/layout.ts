import type { NewFile } from './file.ts'
import type { Change } from './slot.ts'

/**
 * How one update mode lays files out in the volume's open directory `root`. Errors are Node's own, SyscallErrors or
 * FaultErrors.
 */
export type Layout = {
  /** @throws FaultError volume_full before anything is touched */
  apply(root: number, sizeBytes: number, files: readonly NewFile[]): Promise<Change>
  /** False: there is no complete set of files. */
  repair(root: number, sizeBytes: number): Promise<boolean>
}
