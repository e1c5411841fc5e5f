import { ignoreErrors } from '../core/errno.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { UpdateMode } from '../core/imports/import.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { RenderedFile, VolumeFiles, VolumeShape } from '../core/ports/volume.ts'
import type { Entry } from './at-calls.ts'
import { createAtomic } from './atomic.ts'
import { removing, withDirectory } from './directory.ts'
import { createDisk, type Disk } from './disk.ts'
import type { NewFile } from './file.ts'
import { createInPlace, isIncomplete } from './in-place.ts'
import type { Layout } from './layout.ts'
import { DATA } from './links.ts'
import { createLive, SLOTS } from './live.ts'

/** Files belong to root, and to the pod's fsGroup where there is one. */
const ROOT = { uid: 0, gid: 0 }
/** A container may add more than this is enough for: the unmount removes the rest. */
const WIPE_MS = 20

/**
 * The files of mounted volumes, by update mode. The caller makes one call at a time for a volume.
 * @param graceMs how long Live waits after a swap before it syncs the idle slot
 * @param disk,owner for tests: operations that fail, and files of an ordinary user
 */
export function createVolumeFiles(deps: {
  clock: Clock
  graceMs: number
  disk?: Disk
  owner?: { uid: number; gid: number }
}): VolumeFiles {
  const { clock, graceMs, disk = createDisk(), owner = ROOT } = deps
  const layouts = {
    Live: createLive({ disk, clock, graceMs }),
    InPlace: createInPlace({ disk, clock }),
    Atomic: createAtomic({ disk, clock }),
  } satisfies Record<UpdateMode, Layout>
  return {
    apply: (targetPath, shape, files) =>
      asFault(async () => {
        const owned = files.map((file) => withOwner(file, shape, owner))
        const { updateMode, sizeBytes } = shape
        return withVolume(targetPath, (root) => layouts[updateMode].apply(root, sizeBytes, owned))
      }),

    repair: (targetPath, { updateMode, sizeBytes }) =>
      asFault(() => withVolume(targetPath, (root) => layouts[updateMode].repair(root, sizeBytes))),

    found: (targetPath) => ignoreErrors(() => withOpen(targetPath, modeOf)),

    wipe(targetPath) {
      const until = performance.now() + WIPE_MS
      ignoreErrors(() =>
        withOpen(targetPath, (root) => {
          for (const entry of disk.list(root)) {
            ignoreErrors(() => {
              for (const _ of removing(disk, root, entry)) {
                if (performance.now() > until) return
              }
            })
          }
        }),
      )
    },
  }

  function withVolume<Result>(targetPath: string, use: (root: number) => Promise<Result>): Promise<Result> {
    return withDirectory(disk, () => disk.openVolume(targetPath), use)
  }

  function withOpen<Result>(targetPath: string, use: (root: number) => Result): Result {
    const root = disk.openVolume(targetPath)
    try {
      return use(root)
    } finally {
      disk.close(root)
    }
  }

  function modeOf(root: number): UpdateMode | undefined {
    const entries = disk.list(root)
    const has = (wanted: string) => entries.some(({ name }) => name === wanted)
    if (has(DATA)) return SLOTS.every(has) ? 'Live' : 'Atomic'
    const isFile = ({ name, kind }: Entry) => kind === 'file' && !String(name).startsWith('..')
    return entries.some(isFile) && !isIncomplete(disk, root) ? 'InPlace' : undefined
  }
}

function withOwner(file: RenderedFile, shape: VolumeShape, owner: { uid: number; gid: number }): NewFile {
  // Imports are validated long before; this is the last check that keeps a name inside the volume.
  if (!/^(?!\.\.)[^/\0]+$/.test(file.name) || file.name === '.') {
    throw new FaultError('volume_io', { file: file.name, reason: 'the name cannot be a file in a volume' })
  }
  const { name, content, mode } = file
  return { name, content, mode: mode & 0o777, uid: owner.uid, gid: shape.gid ?? owner.gid }
}

async function asFault<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof FaultError || !isSystemError(error)) throw error
    throw new FaultError('volume_io', { reason: describe(error) }, error)
  }
}

type SystemError = Error & { code: string; syscall: string; path?: string | undefined }

function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && 'code' in error && 'syscall' in error
}

/** Code, call and the file's own name, which a container may have chosen. */
function describe({ code, syscall, path }: SystemError): string {
  const name = path
    ?.split('/')
    .at(-1)
    ?.replace(/[^ -~]/g, '?')
  return `${code} at ${syscall}${name ? ` of ${name}` : ''}`
}
