import type { Disk, Entry } from './disk.ts'

/**
 * Opens a directory and hands on a path that stays that directory whatever is renamed meanwhile.
 * A container with write access to its volume could put a symlink in the place of a slot and so have us,
 * root on the node, write elsewhere: hence O_NOFOLLOW, and every path beneath goes through the open directory.
 */
export async function withDirectory<Answer>(
  disk: Disk,
  path: string,
  use: (anchored: string) => Promise<Answer>,
): Promise<Answer> {
  const fd = disk.openDirectory(path)
  try {
    return await use(`/proc/self/fd/${fd}`)
  } finally {
    disk.close(fd)
  }
}

/**
 * Makes a directory that containers of any user may enter, unless it is there.
 * @returns whether it is new, hence empty
 */
export function ensureDirectory(disk: Disk, path: string): boolean {
  const isNew = makeDirectory(disk, path)
  openToAll(disk, path)
  return isNew
}

function makeDirectory(disk: Disk, path: string): boolean {
  try {
    disk.mkdir(path)
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  }
}

/** 0755 whatever the umask said. */
export function openToAll(disk: Disk, path: string): void {
  const fd = disk.openDirectory(path)
  try {
    if (disk.stat(fd).mode !== 0o755) disk.chmod(fd, 0o755)
  } finally {
    disk.close(fd)
  }
}

/** Deletes a file, a link or a whole directory; never follows a link. */
export function removeTree(disk: Disk, path: string, kind: Entry['kind']): void {
  if (kind !== 'directory') {
    disk.unlink(path)
    return
  }
  for (const entry of disk.list(path)) removeTree(disk, `${path}/${entry.name}`, entry.kind)
  disk.rmdir(path)
}

export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
