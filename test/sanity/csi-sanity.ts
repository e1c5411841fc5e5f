import { type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

const VERSION = 'v5.6.0'
const MODULE = `github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@${VERSION}`

/** Cases left out, by their full name as a regular expression, each with its reason. */
const SKIPPED: readonly { case: string; reason: string }[] = []

export type Outcome = { ran: number; failed: number; skipped: number }

/**
 * The csi-sanity program: $CSI_SANITY, or built once with Go into the user's cache directory.
 * @throws Error when it cannot be built
 */
export async function findCsiSanity(): Promise<string> {
  if (process.env.CSI_SANITY) return process.env.CSI_SANITY
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  const directory = join(cache, 'vault-files-csi', `csi-sanity-${VERSION}`)
  const binary = join(directory, 'csi-sanity')
  if (existsSync(binary)) return binary

  mkdirSync(directory, { recursive: true })
  console.log(`building csi-sanity ${VERSION} once into ${directory}`)
  const code = await run('go', ['install', MODULE], { env: { ...process.env, GOBIN: directory } })
  if (code !== 0) throw new Error(`csi-sanity cannot be built: "go install ${MODULE}" ended with ${code}`)
  return binary
}

/**
 * Runs the suite against `endpoint`.
 * @param directory an existing one; csi-sanity makes and removes its mount directory below it
 */
export async function runCsiSanity(binary: string, endpoint: string, directory: string): Promise<Outcome> {
  for (const skipped of SKIPPED) console.log(`left out: ${skipped.case}: ${skipped.reason}`)
  const report = join(directory, 'report.json')
  const code = await run(binary, [
    `--csi.endpoint=${endpoint}`,
    // csi-sanity makes these two itself and wants them not to be there.
    `--csi.mountdir=${join(directory, 'mount')}`,
    `--csi.stagingdir=${join(directory, 'staging')}`,
    `--ginkgo.json-report=${report}`,
    '--ginkgo.no-color',
    ...SKIPPED.map((skipped) => `--ginkgo.skip=${skipped.case}`),
  ])
  const outcome = count(report)
  if (code !== 0 && outcome.failed === 0) throw new Error(`csi-sanity ended with ${code} and no failed case`)
  return outcome
}

type Report = { SpecReports: { State: string; LeafNodeType: string }[] }[]

function count(report: string): Outcome {
  const suites = JSON.parse(readFileSync(report, 'utf8')) as Report
  const states = suites
    .flatMap((suite) => suite.SpecReports)
    .filter((spec) => spec.LeafNodeType === 'It')
    .map((spec) => spec.State)
  const skipped = states.filter((state) => state === 'skipped' || state === 'pending').length
  const failed = states.filter((state) => !['passed', 'skipped', 'pending'].includes(state)).length
  return { ran: states.length - skipped, failed, skipped }
}

async function run(command: string, args: readonly string[], options: SpawnOptions = {}): Promise<number> {
  const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'], ...options })
  const [code] = await Promise.race([
    once(child, 'exit'),
    once(child, 'error').then(([error]) => {
      throw new Error(`${command} cannot be started`, { cause: error })
    }),
  ])
  return code ?? 1
}
