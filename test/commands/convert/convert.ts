import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { convertHelp, parseConvertArguments } from '../../../src/commands/convert/arguments.ts'
import { convert } from '../../../src/commands/convert/convert.ts'
import { convertText } from '../../harness/commands/convert-bench.ts'

const POD = `
kind: Pod
metadata: {name: app}
spec: {containers: [{name: app, env: [{name: A, value: "vault:secret/data/a#b"}]}]}
`

t.test('the arguments are an optional file and a system', async (t) => {
  t.same(parseConvertArguments([]), { arguments: { file: undefined, from: undefined } })
  t.same(parseConvertArguments(['-']), { arguments: { file: undefined, from: undefined } })
  t.same(parseConvertArguments(['--from', 'bank-vaults', 'a.yaml']), {
    arguments: { file: 'a.yaml', from: 'bank-vaults' },
  })
  t.same(parseConvertArguments(['a.yaml', '--from=kubernetes-vault']), {
    arguments: { file: 'a.yaml', from: 'kubernetes-vault' },
  })
})

t.test('wrong usage reports every fault and exits 2', async (t) => {
  const { code, errors, output } = convertText(POD, 'a', 'b', '--from=bank-vault', '--frobnicate')
  t.match({ code, output }, { code: 2, output: '' })
  for (const fault of [
    'did you mean bank-vaults?',
    '"--frobnicate"',
    'one FILE at most',
    'see convert --help',
  ]) {
    t.ok(errors.includes(fault), fault)
  }
})

t.test('--help wins over faults and fits a terminal', async (t) => {
  const { code, output } = convertText('', '--nonsense', '-h')
  t.same({ code, output }, { code: 0, output: convertHelp })
  t.ok(convertHelp.split('\n').every((line) => line.length <= 120))
})

t.test('--from selects one system', async (t) => {
  t.equal(convertText(POD, '--from=bank-vaults').code, 0)
  const { code, errors } = convertText(POD, '--from=vault-agent-injector')
  t.equal(code, 1)
  t.match(errors, /contains Pod\/app/)
  t.match(errors, /looked for vault-agent-injector \(annotation vault\.hashicorp\.com\/agent-inject/)
  t.notMatch(errors, /bank-vaults/)
})

t.test(
  'nothing to convert is reported with the manifests, the known systems and the next step',
  async (t) => {
    const { code, output, errors } = convertText('kind: Service\nmetadata: {name: web}\n---\n[1, 2]\n')
    t.match({ code, output }, { code: 1, output: '' })
    t.match(errors, /standard input contains Service\/web\n/)
    for (const system of [
      'secrets-store-csi-driver',
      'bank-vaults',
      'vault-agent-injector',
      'kubernetes-vault',
    ]) {
      t.ok(errors.includes(system), system)
    }
    t.match(errors, /helm template/)
    t.match(convertText('').errors, /contains no manifest/)
  },
)

t.test('a syntax error is reported with its position, without quoting the text', async (t) => {
  for (const text of [
    'a: [canary\n',
    'a: canary\na: canary\n',
    'a: *canary\n',
    '{{- if .Values.canary }}\na: 1\n',
    '"canary',
  ]) {
    const { code, output, errors } = convertText(text)
    t.match({ code, output }, { code: 1, output: '' }, text)
    t.match(errors, /not readable as YAML or JSON: (line \d+, column \d+|.*alias)/, text)
    t.notMatch(errors, 'canary')
  }
})

t.test('a missing file is reported with the error of the system', async (t) => {
  let errors = ''
  const code = convert({
    argv: ['gone.yaml'],
    read: () => {
      throw new Error('ENOENT: no such file')
    },
    write: () => t.fail('nothing is written'),
    writeError: (text) => {
      errors += text
    },
  })
  t.equal(code, 1)
  t.match(errors, /cannot read gone\.yaml: ENOENT/)
})

t.test('a value that is not valid in an import gets a comment', async (t) => {
  const { code, output } = convertText(`
kind: SecretProviderClass
metadata: {name: Odd_Name}
spec:
  provider: vault
  parameters:
    roleName: "not a role"
    vaultAddress: vault:8200
    objects: |
      - {objectName: a, secretPath: secret/data/a, secretKey: b}
`)
  t.equal(code, 0)
  t.match(output, /name: odd-name/)
  t.match(output, /# to do: spec\.role: must match/)
  t.match(output, /# to do: spec\.address: must be http/)
})

t.test('a class without usable objects makes no import', async (t) => {
  const { code, output, errors } = convertText(
    'kind: SecretProviderClass\nmetadata: {name: a}\nspec: {provider: vault, parameters: {objects: "none"}}\n',
  )
  t.match({ code, output }, { code: 1, output: '' })
  t.match(errors, /SecretProviderClass\/a: none of its objects could be converted.*not a YAML list/)
})

t.test('two systems in one pod are both converted', async (t) => {
  const { output, errors } = convertText(`
kind: Pod
metadata:
  name: app
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/role: app
    vault.hashicorp.com/agent-inject-secret-a: kv/a
spec: {containers: [{name: app, command: [run], env: [{name: A, value: "vault:secret/data/a#b"}]}]}
`)
  t.match(errors, /wrote SecretsStoreImport\/app, SecretsStoreImport\/app-2, Pod\/app;/)
  t.match(output, /secretsStoreImport: app\b/)
  t.match(output, /secretsStoreImport: app-2\b/)
})

t.test('injected pods are refused', async (t) => {
  const { code, errors } = convertText(`
kind: Pod
metadata:
  name: app-1
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/agent-inject-status: injected
    vault.hashicorp.com/agent-inject-secret-a: kv/a
spec: {containers: [{name: app}]}
`)
  t.equal(code, 1)
  t.match(errors, /the agent is already injected; convert the Deployment/)
})

t.test('a CA wins over skipping verification', async (t) => {
  const { output } = convertText(`
kind: Pod
metadata:
  name: app
  annotations:
    vault.security.banzaicloud.io/vault-tls-secret: tls
    vault.security.banzaicloud.io/vault-skip-verify: "true"
spec: {containers: [{name: app, env: [{name: A, value: "vault:secret/data/a#b"}]}]}
`)
  t.match(output, /# changed: the certificate was not verified; now it is, with this CA\.\n {2}caCertRef:/)
  t.notMatch(output, 'skipTLSVerify')
})

t.test('aliases are expanded, so that a change in one place does not affect another', async (t) => {
  const { output } = convertText(`
kind: Pod
metadata: {name: app}
x-env: &env
- {name: A, value: "vault:secret/data/a#b"}
- {name: B, value: plain}
spec:
  containers:
  - {name: one, command: [run], env: *env}
  - {name: two, command: [run], env: *env}
`)
  const pod = parseAllDocuments(output).at(-1)?.toJS()
  const containers = pod.spec.containers as { env: object[]; command: string[] }[]
  t.same(
    containers.map(({ env }) => env),
    [[{ name: 'B', value: 'plain' }], [{ name: 'B', value: 'plain' }]],
  )
  t.match(containers, [{ command: [/^/, /^/, /one\.env/] }, { command: [/^/, /^/, /two\.env/] }])
})

t.test('output of kubectl get can be applied again', async (t) => {
  const { output } = convertText(
    JSON.stringify({
      kind: 'List',
      items: [
        {
          kind: 'Pod',
          metadata: {
            name: 'app',
            uid: 'u',
            resourceVersion: '7',
            managedFields: [{}],
            annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
          },
          spec: { containers: [{ name: 'app', env: [{ name: 'A', value: 'vault:secret/data/a#b' }] }] },
          status: { phase: 'Running' },
        },
      ],
    }),
  )
  const pod = parseAllDocuments(output).at(-1)?.toJS()
  t.same(pod.metadata, { name: 'app' })
  t.same(Object.keys(pod), ['kind', 'metadata', 'spec'])
  t.notMatch(output, /[{}]"/)
})
