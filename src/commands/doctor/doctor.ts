import type { Clock } from '../../core/ports/clock.ts'
import type { Config } from '../../core/settings/config.ts'
import { createSandbox } from '../../sandbox/sandbox.ts'
import { type DoctorArguments, doctorHelp, type ParsedArguments, parseDoctorArguments } from './arguments.ts'
import { type Cluster, examineCluster } from './cluster.ts'
import { checkVaultCa, type Own, readOwnSettings, readPluginProcess } from './plugin-settings.ts'
import { createReport, isWell, type Report, showJson, showTable, valueIn } from './report.ts'
import { checkSockets } from './sockets.ts'
import { examineVault } from './vault.ts'

/** Exit codes, for scripts. */
const WELL = 0
const FAILED = 1
const USAGE = 2

export type DoctorDeps = {
  /** What stands behind `vault-files-csi doctor`. */
  argv: readonly string[]
  env: Readonly<Record<string, string | undefined>>
  version: string
  clock: Clock
  write(text: string): void
  complain(text: string): void
}

/**
 * Checks an installation and prints what to repair.
 * @returns the exit code: 0 nothing failed, 1 something did, 2 called wrongly
 * @throws the signal's reason, after the Vault token of a dry login was revoked
 */
export async function doctor(deps: DoctorDeps, signal: AbortSignal): Promise<number> {
  const parsed = parseDoctorArguments(deps.argv)
  if ('help' in parsed) {
    deps.write(doctorHelp)
    return WELL
  }
  const own: Own = { argv: settingsIn(parsed), env: deps.env }
  const pluginProcess = readPluginProcess(deps.env)
  const settings = readOwnSettings(own, pluginProcess)
  if ('faults' in parsed || !('config' in settings)) {
    return misused(deps, [...faultsOf(parsed), ...faultsOf(settings)])
  }
  const { arguments: args } = parsed
  const report = createReport(signal)
  const isPlugin = pluginProcess !== undefined
  await examine({ ...deps, report, args, own, config: settings.config, isPlugin }, signal)
  deps.write(args.json ? showJson(deps.version, report.findings) : showTable(report.findings))
  return isWell(report.findings) ? WELL : FAILED
}

type Examination = DoctorDeps & {
  report: Report
  args: DoctorArguments
  own: Own
  config: Config
  isPlugin: boolean
}

async function examine(deps: Examination, signal: AbortSignal): Promise<void> {
  const { report, config: ownConfig, clock, args } = deps
  const sandbox = createSandbox({ clock })
  let cluster: Cluster | undefined
  try {
    if (ownConfig.imports.kind === 'kube') cluster = await examineCluster(deps, signal)
    else report.skip(['cluster'], '--imports dir: no API server is asked')
    const config = cluster?.config ?? ownConfig
    await checkSockets(report, config, signal)
    const { client, plugin } = cluster ?? {}
    const place = client && plugin && { client, plugin }
    const ca = await report.run('Vault CA', () =>
      checkVaultCa({ config, own: ownConfig, cluster: place }, signal),
    )
    await examineVault({ report, clock, args, config, cluster, ca: valueIn(ca), sandbox }, signal)
  } finally {
    cluster?.client.close()
    sandbox.close()
  }
}

function settingsIn(parsed: Exclude<ParsedArguments, { help: true }>): readonly string[] {
  return 'faults' in parsed ? parsed.settings : parsed.arguments.settings
}

function faultsOf(parsed: object | { faults: readonly string[] }): readonly string[] {
  return 'faults' in parsed ? parsed.faults : []
}

function misused({ complain }: DoctorDeps, faults: readonly string[]): number {
  for (const fault of faults) complain(`vault-files-csi doctor: ${fault}\n`)
  complain('vault-files-csi doctor: see doctor --help\n')
  return USAGE
}
