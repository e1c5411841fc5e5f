import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RenderedFile } from '../../../src/core/ports/volume.ts'
import { SecretBytes } from '../../../src/core/secret.ts'

/** Files of the user who runs the tests: an ordinary user may not give any to root. */
export const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

export const isRoot = owner.uid === 0

/** Whether files may be given to this group: a user namespace maps only some. */
export function groupExists(gid: number): boolean {
  return readFileSync('/proc/self/gid_map', 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/ +/).map(Number))
    .some(([first = 0, , count = 0]) => gid >= first && gid < first + count)
}

export function temporaryDirectory(t: { teardown(after: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'vault-files-volume-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

export function rendered(files: Record<string, string | Buffer>, mode = 0o640): RenderedFile[] {
  return Object.entries(files).map(([name, content]) => ({
    name,
    content: new SecretBytes(Buffer.from(content)),
    mode,
  }))
}

/** Contents by name as an application lists and reads them: names through the top level, no `..` entries. */
export function readByPath(root: string): Record<string, string> {
  return read(root, names(root))
}

/** Contents by name of one directory of files. */
export function readDirectory(path: string): Record<string, string> {
  return read(path, names(path))
}

/** What the set that `..data` points at holds, and undefined while there is none. */
export function readActive(root: string): Record<string, string> | undefined {
  try {
    return readDirectory(join(root, readlinkSync(join(root, '..data'))))
  } catch {
    return undefined
  }
}

/** Everything about the files of a directory that two equal slots must share. */
export function describeDirectory(path: string): Record<string, unknown> {
  return Object.fromEntries(
    names(path).map((name) => {
      const { mode, uid, gid, mtimeNs } = lstatSync(join(path, name), { bigint: true })
      return [name, { text: readFileSync(join(path, name), 'latin1'), mode, uid, gid, mtimeNs }]
    }),
  )
}

export function mtimeNs(path: string): bigint {
  return statSync(path, { bigint: true }).mtimeNs
}

export function inode(path: string): number {
  return statSync(path).ino
}

function names(path: string): string[] {
  return readdirSync(path)
    .filter((name) => !name.startsWith('..'))
    .sort()
}

function read(path: string, files: string[]): Record<string, string> {
  return Object.fromEntries(files.map((name) => [name, readFileSync(join(path, name), 'latin1')]))
}
