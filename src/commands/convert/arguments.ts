import { nearestName } from '../../core/nearest-name.ts'
import { type System, systems } from './conversion.ts'

export type ConvertArguments = {
  /** undefined: standard input. */
  file: string | undefined
  /** undefined: every recognised system. */
  from: System | undefined
}

export type ParsedArguments = { arguments: ConvertArguments } | { help: true } | { faults: string[] }

/** @param argv the arguments after `vault-files-csi convert` */
export function parseConvertArguments(argv: readonly string[]): ParsedArguments {
  const files: string[] = []
  const faults: string[] = []
  let from: System | undefined
  const remaining = argv[Symbol.iterator]()
  for (const argument of remaining) {
    if (argument === '--help' || argument === '-h') return { help: true }
    const [flag = '', ...rest] = argument.split('=')
    if (flag === '--from') {
      const value: string = rest.length > 0 ? rest.join('=') : (remaining.next().value ?? '')
      from = systems.find((system) => system === value)
      if (from === undefined)
        faults.push(`--from: must be ${systems.join(', ')}, is ${JSON.stringify(value)}${hint(value)}`)
    } else if (argument.startsWith('-') && argument !== '-')
      faults.push(`unknown flag ${JSON.stringify(argument)}`)
    else files.push(argument)
  }
  if (files.length > 1)
    faults.push(`one FILE at most, got ${files.length}: join them with cat and pipe them in`)
  if (faults.length > 0) return { faults }
  const [file] = files
  return { arguments: { file: file === '-' ? undefined : file, from } }
}

function hint(value: string): string {
  const meant = nearestName(value, systems)
  return meant === undefined ? '' : `, did you mean ${meant}?`
}

/** The text of `vault-files-csi convert --help`. */
export const convertHelp = `vault-files-csi convert: converts manifests of other systems to SecretsStoreImports

usage: vault-files-csi convert [--from SYSTEM] [FILE]

Reads Kubernetes manifests, YAML or JSON, with one or more documents, from FILE, or from standard input when FILE is -
or missing. Prints the SecretsStoreImports, then each changed workload, as YAML. Connects neither to a cluster nor to
Vault, and changes nothing.

Comments in the output mark everything that is lost, behaves differently, or needs a decision:
  # no counterpart: ...   the old system did this, vault-files-csi does not; with the next step
  # to do: ...            needs a check or a decision by you
  # changed: ...          behaves differently for the application

  --from SYSTEM
        Convert only the manifests of this system. By default every system is recognised:
          secrets-store-csi-driver   SecretProviderClass (provider vault or openbao), and pods that mount one
          bank-vaults                annotations vault.security.banzaicloud.io/*, values vault:PATH#KEY
          vault-agent-injector       annotations vault.hashicorp.com/* or openbao.openbao.org/*
          kubernetes-vault           annotations pod.boostport.com/*
  -h, --help
        Show this help.

  kubectl get deploy,secretproviderclass -o yaml | vault-files-csi convert > new.yaml
  helm template my-chart | vault-files-csi convert --from bank-vaults

Manifests with nothing to convert are left out; standard error lists them.
See docs/migration.md for each system.

exit code: 0 converted (there may be comments), 1 nothing to convert or unreadable input, 2 wrong usage
`
