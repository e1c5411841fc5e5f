import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Files beside the volumes, of other pods, that must not be reachable through a volume. */
export type Hinterland = {
  path: string
  /** What has changed since it was laid out, in words. */
  changes(): string[]
  /** Lays it out as it was. */
  restore(): void
}

const FILES = 20

export function layOut(path: string): Hinterland {
  create(path)
  let laidOut = describe(path)
  return {
    path,
    changes() {
      const now = describe(path)
      const names = new Set([...laidOut.keys(), ...now.keys()])
      return [...names].flatMap((name) =>
        laidOut.get(name) === now.get(name)
          ? []
          : [`${name}: ${laidOut.get(name) ?? 'not there'} became ${now.get(name) ?? 'gone'}`],
      )
    },
    restore() {
      for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true, force: true })
      create(path)
      laidOut = describe(path)
    },
  }
}

function create(path: string): void {
  for (const folder of ['', 'deep', 'deep/deeper']) {
    mkdirSync(join(path, folder), { recursive: true, mode: 0o750 })
    for (let index = 0; index < FILES; index++) {
      writeFileSync(join(path, folder, `file-${index}`), `${folder} ${index} of another pod`, { mode: 0o640 })
    }
    // Names that volumes have too.
    for (const name of ['value', 'password', 'token']) writeFileSync(join(path, folder, name), 'not yours')
  }
}

function describe(path: string, below = '', found = new Map<string, string>()): Map<string, string> {
  for (const entry of readdirSync(join(path, below), { withFileTypes: true })) {
    const name = join(below, entry.name)
    const place = join(path, name)
    const { mode, uid, gid, mtimeMs } = lstatSync(place)
    const content = entry.isFile()
      ? readFileSync(place, 'utf8')
      : entry.isSymbolicLink()
        ? readlinkSync(place)
        : ''
    // A directory's time moves when a name in it comes or goes.
    found.set(name, [mode.toString(8), uid, gid, mtimeMs, content].join(' '))
    if (entry.isDirectory()) describe(path, name, found)
  }
  return found
}
