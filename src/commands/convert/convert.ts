import { convertAgentInjector } from './agent-injector.ts'
import { convertHelp, parseConvertArguments } from './arguments.ts'
import { convertBankVaults } from './bank-vaults.ts'
import { type Conversion, type Convert, type Manifests, type System, systems } from './conversion.ts'
import { showImport } from './draft-yaml.ts'
import { YAML_STYLE } from './edit.ts'
import { convertKubernetesVault } from './kubernetes-vault.ts'
import { dropLiveFields, type Manifest, readInput } from './manifest.ts'
import { createNames, type Names } from './names.ts'
import { convertSecretsStore } from './secrets-store.ts'
import { titleOf, toWorkload } from './workload.ts'

/** Exit codes, for scripts. */
const CONVERTED = 0
const NOTHING = 1
const USAGE = 2

/** What each system is recognised by, for whoever wonders why it was not. */
const MARKS = {
  'secrets-store-csi-driver':
    'a SecretProviderClass of provider vault or openbao, or a volume that names one',
  'bank-vaults': 'annotations vault.security.banzaicloud.io/* or values vault:PATH#KEY in a pod',
  'vault-agent-injector': 'annotation vault.hashicorp.com/agent-inject: "true" of a pod',
  'kubernetes-vault': 'annotation pod.boostport.com/vault-approle of a pod',
} satisfies Record<System, string>

const converters = {
  'secrets-store-csi-driver': convertSecretsStore,
  'bank-vaults': convertBankVaults,
  'vault-agent-injector': convertAgentInjector,
  'kubernetes-vault': convertKubernetesVault,
} satisfies Record<System, Convert>

export type ConvertDeps = {
  /** What stands behind `vault-files-csi convert`. */
  argv: readonly string[]
  /** The text of a file, of standard input when none is named. Throws with the words of the system. */
  read(file: string | undefined): string
  write(text: string): void
  writeError(text: string): void
}

/**
 * Turns manifests of other systems into SecretsStoreImports and changed workloads.
 * @returns the exit code: 0 converted, 1 nothing to convert or unreadable, 2 called wrongly
 */
export function convert(deps: ConvertDeps): number {
  const parsed = parseConvertArguments(deps.argv)
  if ('help' in parsed) {
    deps.write(convertHelp)
    return CONVERTED
  }
  if ('faults' in parsed) {
    tell(deps, ...parsed.faults, 'see convert --help')
    return USAGE
  }
  const { file, from } = parsed.arguments
  const text = readText(deps, file)
  if (text === undefined) return NOTHING
  const input = readInput(text)
  if ('fault' in input) {
    tell(
      deps,
      `${placeOf(file)} is not readable as YAML or JSON: ${input.fault}`,
      'mend it there, or render the templates in it first (helm template)',
    )
    return NOTHING
  }
  const wanted = from === undefined ? systems : [from]
  const conversion = convertAll(input.manifests, wanted)
  for (const refusal of conversion.refusals) tell(deps, `not converted: ${refusal.replaceAll('\n', ' ')}`)
  if (conversion.imports.length + conversion.workloads.length === 0) {
    explainNothing(deps, file, input.manifests, wanted)
    return NOTHING
  }
  for (const workload of conversion.workloads) dropLiveFields(workload)
  deps.write(show(conversion))
  sumUp(deps, conversion, input.manifests)
  return CONVERTED
}

function readText(deps: ConvertDeps, file: string | undefined): string | undefined {
  try {
    return deps.read(file)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    tell(
      deps,
      `cannot read ${placeOf(file)}: ${reason}`,
      'name a file of Kubernetes manifests, or pipe them in',
    )
    return undefined
  }
}

/** One system after the other: a pod may use several, and each changes only what is its own. */
function convertAll(all: readonly Manifest[], wanted: readonly System[]): Conversion {
  const workloads = all.map(toWorkload).filter((workload) => workload !== undefined)
  const names = new Map<string, Names>()
  const importName: Manifests['importName'] = (name, namespace = '') => {
    const inNamespace = names.get(namespace) ?? createNames('-')
    names.set(namespace, inNamespace)
    return inNamespace.take(name)
  }
  const done = wanted.map((system) => converters[system]({ all, workloads, importName }))
  return {
    imports: done.flatMap(({ imports }) => imports),
    workloads: workloads.filter((workload) => done.some((one) => one.workloads.includes(workload))),
    refusals: done.flatMap(({ refusals }) => refusals),
  }
}

function show({ imports, workloads }: Conversion): string {
  const texts = [
    ...imports.map(showImport),
    ...workloads.map(({ document }) => document.toString({ ...YAML_STYLE, directives: false })),
  ]
  return texts.map((text) => text.replace(/^(---\n)?/, '')).join('---\n')
}

function sumUp(deps: ConvertDeps, { imports, workloads }: Conversion, read: readonly Manifest[]): void {
  const changed = workloads.map(titleOf)
  const names = imports.map(({ name }) => `SecretsStoreImport/${name}`)
  tell(deps, `made ${[...names, ...changed].join(', ')}; read its comments before you apply it`)
  const left = read.filter(
    (manifest) =>
      manifest.kind !== 'SecretProviderClass' &&
      !workloads.some(({ document }) => document === manifest.document),
  )
  if (left.length > 0) tell(deps, `left out, they stay as they are: ${left.map(titleOf).join(', ')}`)
}

function explainNothing(
  deps: ConvertDeps,
  file: string | undefined,
  read: readonly Manifest[],
  wanted: readonly System[],
): void {
  const titles = read.length > 0 ? read.map(titleOf).join(', ') : 'no manifest'
  tell(
    deps,
    `nothing to convert: ${placeOf(file)} holds ${titles}`,
    `looked for ${wanted.map((system) => `${system} (${MARKS[system]})`).join('; ')}`,
    'give it the manifests as they are applied (kubectl get -o yaml, helm template), workloads and not their pods',
  )
}

function placeOf(file: string | undefined): string {
  return file ?? 'standard input'
}

function tell({ writeError }: ConvertDeps, ...lines: readonly string[]): void {
  for (const line of lines) writeError(`vault-files-csi convert: ${line}\n`)
}
