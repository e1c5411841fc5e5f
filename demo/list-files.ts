import { constants, lstatSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/** A short `ls -lA`: mode, owner, group, size, name, and the target of a link. */
export function listFiles(folder: string): string {
  return readdirSync(folder)
    .sort()
    .map((name) => {
      const path = join(folder, name)
      const stat = lstatSync(path)
      const link = stat.isSymbolicLink() ? ` -> ${readlinkSync(path)}` : ''
      const columns = [modeText(stat.mode), stat.uid, stat.gid, String(stat.size).padStart(5)]
      return `${columns.join(' ')} ${name}${link}`
    })
    .join('\n')
}

function modeText(mode: number): string {
  const bits = [...'rwxrwxrwx'].map((letter, index) => (mode & (0o400 >> index) ? letter : '-'))
  return `${typeLetter(mode)}${bits.join('')}`
}

function typeLetter(mode: number): string {
  const type = mode & constants.S_IFMT
  if (type === constants.S_IFLNK) return 'l'
  return type === constants.S_IFDIR ? 'd' : '-'
}
