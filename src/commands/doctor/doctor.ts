import type { Clock } from '../../core/ports/clock.ts'
import type { Config } from '../../core/settings/config.ts'
import { createSandbox } from '../../sandbox/sandbox.ts'
import { type DoctorArguments, doctorHelp, type ParsedArguments, parseDoctorArguments } from './arguments.ts'
import { type Cluster, checkCluster } from './cluster.ts'
import {
  checkVaultCa,
  type Invocation,
  readInvocationSettings,
  readPluginProcess,
} from './plugin-settings.ts'
import { createReport, hasNoFailures, type Report, showJson, showTable, valueIn } from './report.ts'
import { checkSockets } from './sockets.ts'
import { checkVault } from './vault.ts'

/** Exit codes, for scripts. */
const PASSED = 0
const FAILED = 1
const WRONG_USAGE = 2

export type DoctorDeps = {
  /** The arguments after `vault-files-csi doctor`. */
  argv: readonly string[]
  env: Readonly<Record<string, string | undefined>>
  version: string
  clock: Clock
  /** To standard output. */
  write(text: string): void
  /** To standard error. */
  writeError(text: string): void
}

/**
 * Checks an installation and prints a report with fixes.
 * @returns the exit code: 0 nothing failed, 1 something did, 2 wrong usage
 * @throws the signal's reason, after revoking the Vault token of a dry login
 */
export async function doctor(deps: DoctorDeps, signal: AbortSignal): Promise<number> {
  const parsed = parseDoctorArguments(deps.argv)
  if ('help' in parsed) {
    deps.write(doctorHelp)
    return PASSED
  }
  const invocation: Invocation = { argv: settingsIn(parsed), env: deps.env }
  const pluginProcess = readPluginProcess(deps.env)
  const settings = readInvocationSettings(invocation, pluginProcess)
  if ('faults' in parsed || !('config' in settings)) {
    return reportUsage(deps, [...faultsOf(parsed), ...faultsOf(settings)])
  }
  const { arguments: args } = parsed
  const report = createReport(signal)
  const isPlugin = pluginProcess !== undefined
  await checkInstallation({ ...deps, report, args, invocation, config: settings.config, isPlugin }, signal)
  deps.write(args.json ? showJson(deps.version, report.findings) : showTable(report.findings))
  return hasNoFailures(report.findings) ? PASSED : FAILED
}

type InstallationDeps = DoctorDeps & {
  report: Report
  args: DoctorArguments
  invocation: Invocation
  config: Config
  isPlugin: boolean
}

async function checkInstallation(deps: InstallationDeps, signal: AbortSignal): Promise<void> {
  const { report, config: ownConfig, clock, args } = deps
  const sandbox = createSandbox({ clock })
  let cluster: Cluster | undefined
  try {
    if (ownConfig.imports.kind === 'kube') cluster = await checkCluster(deps, signal)
    else report.skip(['cluster'], '--imports dir: no API server is used')
    const config = cluster?.config ?? ownConfig
    await checkSockets(report, config, signal)
    const { client, plugin } = cluster ?? {}
    const clusterPlugin = client && plugin && { client, plugin }
    const ca = await report.run('Vault CA', () =>
      checkVaultCa({ config, ownConfig, cluster: clusterPlugin }, signal),
    )
    await checkVault({ report, clock, args, config, cluster, ca: valueIn(ca), sandbox }, signal)
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

function reportUsage({ writeError }: DoctorDeps, faults: readonly string[]): number {
  for (const fault of faults) writeError(`vault-files-csi doctor: ${fault}\n`)
  writeError('vault-files-csi doctor: see doctor --help\n')
  return WRONG_USAGE
}
