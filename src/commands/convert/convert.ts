import { convertAgentInjector } from './agent-injector.ts'
import { convertHelp, parseConvertArguments } from './arguments.ts'
import { convertBankVaults } from './bank-vaults.ts'
import { type Conversion, type Convert, type Manifests, type System, systems } from './conversion.ts'
import { showImport } from './draft-yaml.ts'
import { YAML_STYLE } from './edit.ts'
import { convertKubernetesVault } from './kubernetes-vault.ts'
import { dropLiveFields, type Manifest, parseManifests } from './manifest.ts'
import { createNames, type Names } from './names.ts'
import { convertSecretsStore } from './secrets-store.ts'
import { titleOf, toWorkload } from './workload.ts'

/** Exit codes, for scripts. */
const CONVERTED = 0
const NOTHING_CONVERTED = 1
const WRONG_USAGE = 2

/** How each system is recognised; shown when nothing was. */
const MARKS = {
  'secrets-store-csi-driver':
    'a SecretProviderClass of provider vault or openbao, or a volume that names one',
  'bank-vaults': 'annotations vault.security.banzaicloud.io/* or values vault:PATH#KEY in a pod',
  'vault-agent-injector': 'annotation vault.hashicorp.com/agent-inject: "true" on a pod',
  'kubernetes-vault': 'annotation pod.boostport.com/vault-approle on a pod',
} satisfies Record<System, string>

const converters = {
  'secrets-store-csi-driver': convertSecretsStore,
  'bank-vaults': convertBankVaults,
  'vault-agent-injector': convertAgentInjector,
  'kubernetes-vault': convertKubernetesVault,
} satisfies Record<System, Convert>

export type ConvertDeps = {
  /** The arguments after `vault-files-csi convert`. */
  argv: readonly string[]
  /** The text of a file, or of standard input if undefined. Throws the system's error. */
  read(file: string | undefined): string
  /** To standard output. */
  write(text: string): void
  /** To standard error. */
  writeError(text: string): void
}

/**
 * Converts manifests of other systems to SecretsStoreImports and changed workloads.
 * @returns the exit code: 0 converted, 1 nothing to convert or unreadable, 2 wrong usage
 */
export function convert(deps: ConvertDeps): number {
  const parsed = parseConvertArguments(deps.argv)
  if ('help' in parsed) {
    deps.write(convertHelp)
    return CONVERTED
  }
  if ('faults' in parsed) {
    writeErrors(deps, ...parsed.faults, 'see convert --help')
    return WRONG_USAGE
  }
  const { file, from } = parsed.arguments
  const text = readText(deps, file)
  if (text === undefined) return NOTHING_CONVERTED
  const input = parseManifests(text)
  if ('fault' in input) {
    writeErrors(
      deps,
      `${nameOfInput(file)} is not readable as YAML or JSON: ${input.fault}`,
      'fix it there, or render its templates first (helm template)',
    )
    return NOTHING_CONVERTED
  }
  const selected = from === undefined ? systems : [from]
  const conversion = convertAll(input.manifests, selected)
  for (const refusal of conversion.refusals)
    writeErrors(deps, `not converted: ${refusal.replaceAll('\n', ' ')}`)
  if (conversion.imports.length + conversion.workloads.length === 0) {
    reportNothingConverted(deps, file, input.manifests, selected)
    return NOTHING_CONVERTED
  }
  for (const workload of conversion.workloads) dropLiveFields(workload)
  deps.write(show(conversion))
  reportResult(deps, conversion, input.manifests)
  return CONVERTED
}

function readText(deps: ConvertDeps, file: string | undefined): string | undefined {
  try {
    return deps.read(file)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    writeErrors(
      deps,
      `cannot read ${nameOfInput(file)}: ${reason}`,
      'give a file of Kubernetes manifests, or pipe them in',
    )
    return undefined
  }
}

/** One system after the other: a pod may use several, and each converter changes only the parts of its own system. */
function convertAll(all: readonly Manifest[], selected: readonly System[]): Conversion {
  const workloads = all.map(toWorkload).filter((workload) => workload !== undefined)
  const names = new Map<string, Names>()
  const importName: Manifests['importName'] = (name, namespace = '') => {
    const inNamespace = names.get(namespace) ?? createNames('-')
    names.set(namespace, inNamespace)
    return inNamespace.take(name)
  }
  const results = selected.map((system) => converters[system]({ all, workloads, importName }))
  return {
    imports: results.flatMap(({ imports }) => imports),
    workloads: workloads.filter((workload) => results.some((one) => one.workloads.includes(workload))),
    refusals: results.flatMap(({ refusals }) => refusals),
  }
}

function show({ imports, workloads }: Conversion): string {
  const texts = [
    ...imports.map(showImport),
    ...workloads.map(({ document }) => document.toString({ ...YAML_STYLE, directives: false })),
  ]
  return texts.map((text) => text.replace(/^(---\n)?/, '')).join('---\n')
}

function reportResult(
  deps: ConvertDeps,
  { imports, workloads }: Conversion,
  read: readonly Manifest[],
): void {
  const changed = workloads.map(titleOf)
  const names = imports.map(({ name }) => `SecretsStoreImport/${name}`)
  writeErrors(deps, `wrote ${[...names, ...changed].join(', ')}; read the comments before you apply them`)
  const unchanged = read.filter(
    (manifest) =>
      manifest.kind !== 'SecretProviderClass' &&
      !workloads.some(({ document }) => document === manifest.document),
  )
  if (unchanged.length > 0) writeErrors(deps, `unchanged and left out: ${unchanged.map(titleOf).join(', ')}`)
}

function reportNothingConverted(
  deps: ConvertDeps,
  file: string | undefined,
  read: readonly Manifest[],
  selected: readonly System[],
): void {
  const titles = read.length > 0 ? read.map(titleOf).join(', ') : 'no manifest'
  writeErrors(
    deps,
    `nothing to convert: ${nameOfInput(file)} contains ${titles}`,
    `looked for ${selected.map((system) => `${system} (${MARKS[system]})`).join('; ')}`,
    'pass the manifests as they are applied (kubectl get -o yaml, helm template), and workloads instead of their pods',
  )
}

function nameOfInput(file: string | undefined): string {
  return file ?? 'standard input'
}

function writeErrors({ writeError }: ConvertDeps, ...lines: readonly string[]): void {
  for (const line of lines) writeError(`vault-files-csi convert: ${line}\n`)
}
