import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  opendirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { errorCode, hasCode, ignoreCode } from '../core/errno.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Log } from '../core/ports/log.ts'
import type { LedgerEntry, LedgerStore } from '../core/ports/volume.ts'

/** Increased when an older plugin could misread the entries of a newer one. */
const VERSION = 1

/** An entry is a kilobyte; the longest path and names of a pod make it ten. */
const MOST_BYTES = 64 << 10
/** Many times the pods that a node may run. */
const MOST_FILES = 10_000
const PATH_MAX = 4_096

/** As in requests (core/publish-request/attributes.ts): the mount there will be unmounted and the directory removed. */
const targetPath = z.string().max(PATH_MAX).refine(isTargetPath, {
  error: 'must be an absolute path without . and ..',
})

const entrySchema = z.object({
  version: z.literal(VERSION),
  volumeId: z.string().min(1),
  targetPath,
  readOnly: z.boolean(),
  // JSON has no undefined.
  fsGroup: z
    .int()
    .nonnegative()
    .nullable()
    .transform((gid) => gid ?? undefined),
  pod: z.object({ name: z.string(), namespace: z.string(), uid: z.string(), serviceAccount: z.string() }),
  importName: z.string(),
  fingerprint: z.string(),
  updateMode: z.enum(['Live', 'InPlace', 'Atomic']),
  sizeBytes: z.int().positive(),
  // Earlier plugins did not write it.
  leaseStoreKey: z
    .string()
    .nullable()
    .default(null)
    .transform((key) => key ?? undefined),
  phase: z.enum(['mounting', 'complete']),
})

/**
 * One JSON file per mounted volume under `<stateDir>/volumes`, replaced as a whole. It holds no secret and no token:
 * `leaseStoreKey` opens only the sealed leases in the volume's own mount.
 * @throws FaultError internal when the directory cannot be used, naming it and the error
 */
export function createLedgerStore({ stateDir, log }: { stateDir: string; log: Log }): LedgerStore {
  const directory = join(stateDir, 'volumes')
  let isReady = false
  const pathOf = (targetPath: string) => join(directory, fileName(targetPath))
  return {
    load() {
      const names = readNames(directory, log)
      for (const name of names.filter(isHalfWritten)) rmSync(join(directory, name), { force: true })
      return names.filter((name) => name.endsWith('.json')).flatMap((name) => loadEntry(directory, name, log))
    },

    put(entry) {
      const path = pathOf(entry.targetPath)
      guarded(directory, () => {
        if (!isReady) makeDirectory(directory)
        isReady = true
        try {
          replaceFile(path, serialize(entry))
        } catch (error) {
          // The directory was removed since.
          if (!hasCode(error, 'ENOENT')) throw error
          makeDirectory(directory)
          replaceFile(path, serialize(entry))
        }
      })
    },

    remove(targetPath) {
      guarded(directory, () => {
        // Needs no descriptor: an unpublish works when they have run out.
        ignoreCode(['ENOENT'], () => unlinkSync(pathOf(targetPath)))
      })
    },
  }
}

function makeDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  // chmod(2) would follow a link.
  if (!lstatSync(directory).isDirectory()) throw Object.assign(new Error('no directory'), { code: 'ENOTDIR' })
  chmodSync(directory, 0o700)
}

function replaceFile(path: string, text: string): void {
  writeFileSync(`${path}.tmp`, text, { mode: 0o600 })
  renameSync(`${path}.tmp`, path)
}

/** A path may be longer than a file name may be; its hash is not. */
function fileName(targetPath: string): string {
  return `${createHash('sha256').update(targetPath).digest('hex')}.json`
}

function isHalfWritten(name: string): boolean {
  return name.endsWith('.tmp')
}

function serialize(entry: LedgerEntry): string {
  const { fsGroup = null, leaseStoreKey = null } = entry
  return `${JSON.stringify({ version: VERSION, ...entry, fsGroup, leaseStoreKey })}\n`
}

function loadEntry(directory: string, name: string, log: Log): LedgerEntry[] {
  try {
    const { version: _, ...entry } = entrySchema.parse(JSON.parse(readBounded(join(directory, name))))
    if (fileName(entry.targetPath) !== name) throw new Error('the file has the name of another target')
    return [entry]
  } catch (error) {
    moveAside(directory, name, log, error)
    return []
  }
}

/** Keeps the file for inspection, under a name that the next start does not read. */
function moveAside(directory: string, name: string, log: Log, error: unknown): void {
  log.warn({ file: name, reason: reasonOf(error) }, 'ledger entry is unreadable, skipping it')
  guarded(directory, () => renameSync(join(directory, name), join(directory, `${name}.unreadable`)))
}

function reasonOf(error: unknown): string {
  if (error instanceof z.ZodError) return z.prettifyError(error)
  return error instanceof Error ? error.message : String(error)
}

function isTargetPath(path: string): boolean {
  const segments = path.split('/').slice(1)
  const isPlain = segments.every((segment) => segment !== '.' && segment !== '..')
  return path.startsWith('/') && isPlain && !path.includes('\0') && segments.some((segment) => segment !== '')
}

/** @throws Error for anything but a plain file of at most MOST_BYTES */
function readBounded(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    if (!fstatSync(fd).isFile()) throw new Error('it is no file')
    const bytes = Buffer.alloc(MOST_BYTES + 1)
    const size = readSync(fd, bytes, 0, bytes.byteLength, 0)
    if (size > MOST_BYTES) throw new Error(`it is larger than ${MOST_BYTES} bytes`)
    return bytes.toString('utf8', 0, size)
  } finally {
    closeSync(fd)
  }
}

function readNames(directory: string, log: Log): string[] {
  try {
    if (!lstatSync(directory).isDirectory())
      throw Object.assign(new Error('no directory'), { code: 'ENOTDIR' })
    return listBounded(directory, log)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw unusable(directory, error)
  }
}

function listBounded(directory: string, log: Log): string[] {
  const names: string[] = []
  const open = opendirSync(directory)
  try {
    for (let entry = open.readSync(); entry !== null; entry = open.readSync()) {
      if (names.length === MOST_FILES) {
        log.error({ directory, limit: MOST_FILES }, 'too many ledger entries, skipping the rest')
        break
      }
      names.push(entry.name)
    }
    return names
  } finally {
    open.closeSync()
  }
}

function guarded(directory: string, work: () => void): void {
  try {
    work()
  } catch (error) {
    throw unusable(directory, error)
  }
}

function unusable(directory: string, error: unknown): FaultError {
  const code = errorCode(error)
  const suffix = code === undefined ? '' : ` (${code})`
  return new FaultError('internal', { reason: `the ledger in ${directory} cannot be used${suffix}` }, error)
}
