import type { NewFile } from './file.ts'
import type { Change } from './slot.ts'

/** How one update mode lays files out in the volume's directory `root`. Errors are Node's own or FaultErrors. */
export type Layout = {
  /** @throws FaultError volume_full before anything is touched */
  apply(root: string, sizeBytes: number, files: readonly NewFile[]): Promise<Change>
  /** False: there is no complete set of files. */
  repair(root: string): Promise<boolean>
}
