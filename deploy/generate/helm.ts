import { execFile } from 'node:child_process'
import { accessSync, constants, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const VERSION = 'v3.22.0'
const MODULE = `helm.sh/helm/v3/cmd/helm@${VERSION}`

/** The output of helm, and whether it succeeded. */
export type HelmResult = { ok: boolean; stdout: string; stderr: string }

/**
 * The helm binary: $HELM, else the one on PATH, else one built once with Go into the user's cache directory, which takes
 * some minutes. Several processes may call this at the same time.
 * @throws Error that names what to install
 */
export async function findHelm(): Promise<string> {
  if (process.env.HELM) return process.env.HELM
  const installed = onPath('helm')
  if (installed !== undefined) return installed
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  const directory = join(cache, 'vault-files-csi', `helm-${VERSION}`)
  const binary = join(directory, 'helm')
  if (!isExecutable(binary)) await build(directory, binary)
  return binary
}

export async function helm(...args: readonly string[]): Promise<HelmResult> {
  const binary = await findHelm()
  try {
    const { stdout, stderr } = await run(binary, args, { maxBuffer: 32 << 20 })
    return { ok: true, stdout, stderr }
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    return { ok: false, stdout, stderr: stderr || (error as Error).message }
  }
}

async function build(directory: string, binary: string): Promise<void> {
  mkdirSync(directory, { recursive: true })
  // In the same directory, so that the last step is an atomic rename even if several processes build.
  const scratch = mkdtempSync(join(directory, '.build-'))
  try {
    console.log(`# building helm ${VERSION} once into ${directory}`)
    await run('go', ['install', MODULE], {
      cwd: scratch,
      env: { ...process.env, GOBIN: scratch },
      maxBuffer: 32 << 20,
    })
    renameSync(join(scratch, 'helm'), binary)
  } catch (cause) {
    throw new Error(`helm is not on PATH and "go install ${MODULE}" failed: install helm 3, or set $HELM`, {
      cause,
    })
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
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

// `npm run test:deploy` runs this first: otherwise each test process would build helm.
if (import.meta.main) console.log(await findHelm())
