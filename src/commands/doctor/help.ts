/** The text of `vault-files-csi doctor --help`. */
export const doctorHelp = `vault-files-csi doctor: checks an installation and says what to repair

usage: vault-files-csi doctor [--import NAMESPACE/NAME] [--service-account NAME] [--dry-login] [flags]

Runs wherever there is a kubeconfig, on a node, or in a pod of the plugin:
  kubectl -n vault-files-csi exec ds/vault-files-csi -- node /app/dist/main.js doctor
Changes nothing in the cluster or in Vault; --dry-login alone makes tokens, and revokes Vault's at the end.

  --import NAMESPACE/NAME
        Also check this SecretsStoreImport: its fields, what this node's settings allow, auth mount and role.
  --service-account NAME
        The pod's service account, in the import's namespace.
  --dry-login
        Log in to Vault as that service account, with a token for ten minutes that is bound to no pod. Then
        check the policy on each path, and that each file could be written. No value is shown, nothing is issued.
        Needs create on serviceaccounts/token, or --token-file; for authMethod approle get on the import's Secret.
  --token-file FILE
        A service-account token to log in with, instead of asking the API server for one.
  --json
        The report as JSON.
  -h, --help
        This text.

The API server is found as kubectl finds it: $KUBECONFIG, the pod's own service account, ~/.kube/config.
The plugin's settings are taken from its DaemonSet (in a pod of the plugin: from its process); flags given here win.
Without either they are those of this command line, of the environment and of --config. The ones that matter here:
  --driver-name, --imports kube|dir:PATH, --vault-addr, --vault-auth-path, --vault-namespace, --vault-ca-cert,
  --vault-skip-verify, --allow-address, --allow-http, --allow-skip-verify, --allow-token-export, --allow-secret-sync,
  --min-refresh-interval, --kubelet-endpoint, --registration-socket; see vault-files-csi --help.
With --imports dir:PATH no API server is asked: Vault and the import alone are checked.

exit code: 0 nothing failed (there may be warnings), 1 something failed, 2 called wrongly
`
