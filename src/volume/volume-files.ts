import { FaultError } from '../core/errors.ts'
import type { UpdateMode } from '../core/import.ts'
import type { RenderedFile, VolumeFiles, VolumeShape } from '../core/mounted.ts'
import type { Clock } from '../core/ports.ts'
import { createAtomic } from './atomic.ts'
import { removeTree, withDirectory } from './directory.ts'
import { createDisk, type Disk } from './disk.ts'
import type { NewFile } from './file.ts'
import { createInPlace } from './in-place.ts'
import type { Layout } from './layout.ts'
import { createLive, SLOTS } from './live.ts'
import { DATA } from './top-level.ts'

/** Files belong to root, and to the pod's fsGroup where there is one. */
const ROOT = { uid: 0, gid: 0 }

/**
 * The files of mounted volumes, by update mode. One call at a time for a volume: the caller queues.
 * @param graceMs how long Live leaves the retired files alone after a swap
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
        const owned = files.map((file) => own(file, shape, owner))
        return withDirectory(disk, targetPath, (root) =>
          layouts[shape.updateMode].apply(root, shape.sizeBytes, owned),
        )
      }),

    repair: (targetPath, shape) =>
      asFault(() => withDirectory(disk, targetPath, (root) => layouts[shape.updateMode].repair(root))),

    found(targetPath) {
      const entries = quietly(() => disk.list(targetPath)) ?? []
      const has = (wanted: string) => entries.some(({ name }) => name === wanted)
      if (has(DATA)) return SLOTS.every(has) ? 'Live' : 'Atomic'
      return entries.some(({ name, kind }) => kind === 'file' && !name.startsWith('..'))
        ? 'InPlace'
        : undefined
    },

    wipe(targetPath) {
      for (const { name, kind } of quietly(() => disk.list(targetPath)) ?? []) {
        quietly(() => removeTree(disk, `${targetPath}/${name}`, kind))
      }
    },
  }
}

function own(file: RenderedFile, shape: VolumeShape, owner: { uid: number; gid: number }): NewFile {
  // Imports are checked long before; this is the last place that could keep a name inside the volume.
  if (!/^(?!\.\.)[^/\0]+$/.test(file.name) || file.name === '.') {
    throw new FaultError('volume_io', { file: file.name, reason: 'the name cannot be a file in a volume' })
  }
  const { name, content, mode } = file
  return { name, content, mode: mode & 0o777, uid: owner.uid, gid: shape.gid ?? owner.gid }
}

async function asFault<Answer>(work: () => Promise<Answer>): Promise<Answer> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof FaultError || !isSystemError(error)) throw error
    throw new FaultError('volume_io', { reason: describe(error) }, error)
  }
}

type SystemError = Error & { code: string; syscall: string; path?: string }

function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && 'code' in error && 'syscall' in error
}

/** Code, call and the file's own name: the path before it is a file descriptor's and tells nothing. */
function describe({ code, syscall, path }: SystemError): string {
  const name = path?.split('/').at(-1)
  return `${code} at ${syscall}${name ? ` of ${name}` : ''}`
}

function quietly<Answer>(work: () => Answer): Answer | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
