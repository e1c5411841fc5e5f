import { nearest } from '../../core/nearest-name.ts'
import { type System, systems } from './conversion.ts'

export type ConvertArguments = {
  /** undefined: standard input. */
  file: string | undefined
  /** undefined: whatever is recognised. */
  from: System | undefined
}

export type ParsedArguments = { arguments: ConvertArguments } | { help: true } | { faults: string[] }

/** @param argv what stands behind `vault-files-csi convert` */
export function parseConvertArguments(argv: readonly string[]): ParsedArguments {
  const files: string[] = []
  const faults: string[] = []
  let from: System | undefined
  const words = argv[Symbol.iterator]()
  for (const word of words) {
    if (word === '--help' || word === '-h') return { help: true }
    const [flag = '', ...rest] = word.split('=')
    if (flag === '--from') {
      const value: string = rest.length > 0 ? rest.join('=') : (words.next().value ?? '')
      from = systems.find((system) => system === value)
      if (from === undefined)
        faults.push(`--from: must be ${systems.join(', ')}, is ${JSON.stringify(value)}${hint(value)}`)
    } else if (word.startsWith('-') && word !== '-') faults.push(`unknown flag ${JSON.stringify(word)}`)
    else files.push(word)
  }
  if (files.length > 1)
    faults.push(`one FILE at most, these are ${files.length}: join them with cat and pipe them in`)
  if (faults.length > 0) return { faults }
  const [file] = files
  return { arguments: { file: file === '-' ? undefined : file, from } }
}

function hint(value: string): string {
  const meant = nearest(value, systems)
  return meant === undefined ? '' : `, did you mean ${meant}?`
}

/** The text of `vault-files-csi convert --help`. */
export const convertHelp = `vault-files-csi convert: turns manifests of other systems into ours

usage: vault-files-csi convert [--from SYSTEM] [FILE]

Reads Kubernetes manifests, YAML or JSON, several documents in one, from FILE, or from standard input when FILE is - or
missing. Prints the SecretsStoreImports, then each workload as it must be changed, as YAML. Asks neither a cluster nor
Vault, and changes nothing.

A comment stands wherever something is lost, is otherwise than it was, or needs you:
  # no counterpart: ...   the old system did it, ours does not; with the next step
  # to do: ...            only you can know or decide it
  # changed: ...          the application sees it otherwise than before

  --from SYSTEM
        Convert the manifests of this system alone. Without it each is recognised by itself:
          secrets-store-csi-driver   SecretProviderClass (provider vault or openbao), and pods that mount one
          bank-vaults                annotations vault.security.banzaicloud.io/*, values vault:PATH#KEY
          vault-agent-injector       annotations vault.hashicorp.com/* or openbao.openbao.org/*
          kubernetes-vault           annotations pod.boostport.com/*
  -h, --help
        This text.

  kubectl get deploy,secretproviderclass -o yaml | vault-files-csi convert > new.yaml
  helm template my-chart | vault-files-csi convert --from bank-vaults

Manifests in which there is nothing to convert are left out; standard error says which were read.
docs/migration.md goes through each system.

exit code: 0 converted (there may be comments), 1 nothing to convert or unreadable input, 2 called wrongly
`
