import { lstatSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/** `ls -lA` in a few words: mode, owner, group, size, name, and where a link leads. */
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

const types: Readonly<Record<number, string>> = { 9: 'l', 4: 'd', 7: '-' }

function modeText(mode: number): string {
  const bits = [...'rwxrwxrwx'].map((letter, index) => (mode & (0o400 >> index) ? letter : '-'))
  return `${types[mode >> 12] ?? '?'}${bits.join('')}`
}
