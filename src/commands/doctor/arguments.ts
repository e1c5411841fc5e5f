/** The doctor's own arguments; everything else on its command line is a setting of the plugin. */
export type DoctorArguments = {
  importRef: { namespace: string; name: string } | undefined
  /** In the import's namespace. */
  serviceAccount: string | undefined
  dryLogin: boolean
  tokenFile: string | undefined
  json: boolean
  /** Flags of the plugin, as given. */
  settings: readonly string[]
}

/** Faults come with the plugin's flags, so that faults in those are reported at the same time. */
export type ParsedArguments =
  | { arguments: DoctorArguments }
  | { help: true }
  | { faults: string[]; settings: readonly string[] }

const valued = ['--import', '--service-account', '--token-file'] as const
const switches = ['--dry-login', '--json', '--help', '-h'] as const

type Valued = (typeof valued)[number]
type Given = { values: Map<Valued, string>; switches: Set<string>; settings: string[]; faults: string[] }

/** @param argv the arguments after `vault-files-csi doctor` */
export function parseDoctorArguments(argv: readonly string[]): ParsedArguments {
  const given = classify(argv)
  if (given.switches.has('--help') || given.switches.has('-h')) return { help: true }
  const importRef = importOf(given)
  const serviceAccount = given.values.get('--service-account')
  const tokenFile = given.values.get('--token-file')
  const dryLogin = given.switches.has('--dry-login')
  const faults = [
    ...given.faults,
    ...faultsBetween({
      dryLogin,
      tokenFile,
      serviceAccount,
      hasImport: given.values.has('--import'),
    }),
  ]
  if (faults.length > 0) return { faults, settings: given.settings }
  const json = given.switches.has('--json')
  return { arguments: { importRef, serviceAccount, dryLogin, tokenFile, json, settings: given.settings } }
}

function classify(argv: readonly string[]): Given {
  const given: Given = { values: new Map(), switches: new Set(), settings: [], faults: [] }
  const remaining = argv[Symbol.iterator]()
  for (const argument of remaining) {
    const [flag = '', ...rest] = argument.split('=')
    const name = valued.find((known) => known === flag)
    if (name !== undefined) {
      const value = rest.length > 0 ? rest.join('=') : remaining.next().value
      if (!value || value.startsWith('--')) given.faults.push(`${name}: needs a value`)
      else given.values.set(name, value)
    } else if (switches.some((known) => known === argument)) given.switches.add(argument)
    else given.settings.push(argument)
  }
  return given
}

function importOf({ values, faults }: Given): DoctorArguments['importRef'] {
  const text = values.get('--import')
  if (text === undefined) return undefined
  const [namespace, name, ...more] = text.split('/')
  if (namespace && name && more.length === 0) return { namespace, name }
  faults.push(`--import: must be NAMESPACE/NAME, is ${JSON.stringify(text.slice(0, 200))}`)
  return undefined
}

function faultsBetween(given: {
  dryLogin: boolean
  tokenFile: string | undefined
  serviceAccount: string | undefined
  hasImport: boolean
}): string[] {
  const { dryLogin, tokenFile, serviceAccount, hasImport } = given
  const faults: string[] = []
  if (dryLogin && !hasImport) faults.push('--dry-login: needs --import NAMESPACE/NAME')
  if (tokenFile !== undefined && !dryLogin) faults.push('--token-file: only with --dry-login')
  if (serviceAccount !== undefined && !hasImport) {
    faults.push('--service-account: needs --import, which gives its namespace')
  }
  return faults
}

/** The text of `vault-files-csi doctor --help`. */
export const doctorHelp = `vault-files-csi doctor: checks an installation and says how to fix it

usage: vault-files-csi doctor [--import NAMESPACE/NAME] [--service-account NAME] [--dry-login] [flags]

Runs wherever there is a kubeconfig, on a node, or in a pod of the plugin:
  kubectl -n vault-files-csi exec ds/vault-files-csi -- node /app/dist/main.js doctor
Changes nothing in the cluster or in Vault. Only --dry-login creates tokens; it revokes the Vault token at the end.

  --import NAMESPACE/NAME
        Also check this SecretsStoreImport: its fields, whether the plugin's settings allow it, auth mount and role.
  --service-account NAME
        The pod's service account, in the import's namespace.
  --dry-login
        Log in to Vault as that service account, with a ten-minute token that is not bound to a pod. Then check
        the policy on each path, and that each file can be rendered. Prints no values and issues no credentials.
        Needs create on serviceaccounts/token, or --token-file; for authMethod approle, get on the import's Secret.
  --token-file FILE
        A service-account token to log in with, instead of requesting one from the API server.
  --json
        Print the report as JSON.
  -h, --help
        Show this help.

The API server is found as kubectl finds it: $KUBECONFIG, the pod's own service account, ~/.kube/config.
The plugin's settings come from its DaemonSet (in a pod of the plugin: from its process); flags given here override
them. Without either, settings come from this command line, the environment and --config. The relevant ones:
  --driver-name, --imports kube|dir:PATH, --vault-addr, --vault-auth-path, --vault-namespace, --vault-ca-cert,
  --vault-skip-verify, --allow-address, --allow-http, --allow-skip-verify, --allow-token-export, --allow-secret-sync,
  --min-refresh-interval, --kubelet-endpoint, --registration-socket; see vault-files-csi --help.
With --imports dir:PATH no API server is used: only Vault and the import are checked.

exit code: 0 nothing failed (there may be warnings), 1 something failed, 2 wrong usage
`
