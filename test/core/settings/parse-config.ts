import t from 'tap'
import type { Config } from '../../../src/core/settings/config.ts'
import { helpText, settingsTable } from '../../../src/core/settings/help.ts'
import { parseConfig } from '../../../src/core/settings/parse-config.ts'
import { environmentName, flagName, settingNames } from '../../../src/core/settings/settings.ts'

type Given = { argv?: string[]; env?: Record<string, string>; file?: unknown; isTTY?: boolean }

function parse({ argv = [], env = {}, file, isTTY = false }: Given) {
  const readFile = (path: string) => {
    if (path !== '/etc/settings.yaml') throw new Error(`ENOENT: no such file ${path}`)
    return file
  }
  return parseConfig({ argv, env: { NODE_NAME: 'node-1', ...env }, readFile, isTTY })
}

function configOf(given: Given): Config {
  const parsed = parse(given)
  if (!('config' in parsed)) throw new Error(JSON.stringify(parsed))
  return parsed.config
}

function faultsOf(given: Given): string[] {
  const parsed = parse(given)
  return 'faults' in parsed ? parsed.faults : []
}

const withFile = { argv: ['--config', '/etc/settings.yaml'] }

t.test('without settings the defaults apply', async (t) => {
  t.same(configOf({}), {
    endpoint: 'unix:///csi/csi.sock',
    nodeId: 'node-1',
    driverName: 'secrets-store.csi.deckhouse.io',
    registrationSocket: undefined,
    removeStartupTaint: undefined,
    kubeletEndpoint: '/csi/csi.sock',
    stateDir: '/run/vault-files-csi',
    imports: { kind: 'kube' },
    vaultAddr: undefined,
    vaultAuthPath: 'kubernetes',
    vaultNamespace: '',
    vaultCaCert: undefined,
    vaultSkipVerify: false,
    rotationIntervalMs: 120_000,
    minRefreshIntervalMs: 10_000,
    vaultQps: 50,
    vaultConcurrency: 16,
    httpAddr: { host: '0.0.0.0', port: 9808 },
    httpTlsCert: undefined,
    httpTlsKey: undefined,
    httpClientCa: undefined,
    allowAddress: [],
    allowHttp: false,
    allowSkipVerify: false,
    allowTokenExport: false,
    allowSecretSync: false,
    maxVolumeBytes: 4 * 1024 * 1024,
    maxNodeBytes: 256 * 1024 * 1024,
    maxNamespaceBytes: 128 * 1024 * 1024,
    logLevel: 'info',
    logFormat: 'json',
  })
})

t.test('precedence is flag, environment, file, default', async (t) => {
  const file = { 'vault-addr': 'https://file:8200', 'vault-qps': 7 }
  const env = { VAULT_ADDR: 'https://env:8200' }
  const flag = ['--vault-addr', 'https://flag:8200']
  t.equal(configOf({ ...withFile, file }).vaultAddr, 'https://file:8200')
  t.equal(configOf({ ...withFile, file, env }).vaultAddr, 'https://env:8200')
  t.equal(configOf({ argv: [...withFile.argv, ...flag], file, env }).vaultAddr, 'https://flag:8200')
  t.equal(configOf({ argv: [...withFile.argv, ...flag], file, env }).vaultQps, 7)
})

t.test('every setting can be set by flag, by variable and in the file', async (t) => {
  const samples: Record<string, [string, unknown]> = {
    endpoint: ['unix:///tmp/a.sock', 'unix:///tmp/a.sock'],
    nodeId: ['n2', 'n2'],
    driverName: ['csi.example.org', 'csi.example.org'],
    registrationSocket: ['/reg/a.sock', '/reg/a.sock'],
    removeStartupTaint: ['example.org/starting', 'example.org/starting'],
    kubeletEndpoint: ['/host/a.sock', '/host/a.sock'],
    stateDir: ['/tmp/state', '/tmp/state'],
    imports: ['kube', { kind: 'kube' }],
    vaultAddr: ['https://v:8200/', 'https://v:8200'],
    vaultAuthPath: ['main-kube', 'main-kube'],
    vaultNamespace: ['ns', 'ns'],
    vaultCaCert: ['/ca.pem', '/ca.pem'],
    vaultSkipVerify: ['true', true],
    rotationIntervalMs: ['1m30s', 90_000],
    minRefreshIntervalMs: ['1s', 1000],
    vaultQps: ['5', 5],
    vaultConcurrency: ['3', 3],
    httpAddr: ['[::1]:0', { host: '::1', port: 0 }],
    httpTlsCert: ['/c.pem', '/c.pem'],
    httpTlsKey: ['/k.pem', '/k.pem'],
    httpClientCa: ['/cc.pem', '/cc.pem'],
    allowAddress: ['https://w', ['https://w']],
    allowHttp: ['true', true],
    allowSkipVerify: ['true', true],
    allowTokenExport: ['true', true],
    allowSecretSync: ['true', true],
    maxVolumeBytes: ['512Ki', 524_288],
    maxNodeBytes: ['1Gi', 1 << 30],
    maxNamespaceBytes: ['600Mi', 600 << 20],
    logLevel: ['debug', 'debug'],
    logFormat: ['pretty', 'pretty'],
  }
  const wanted = Object.fromEntries(settingNames.map((name) => [name, samples[name]?.[1]]))
  const texts = settingNames.map((name) => [name, samples[name]?.[0] ?? ''] as const)
  t.same(configOf({ argv: texts.map(([name, text]) => `--${flagName(name)}=${text}`) }), wanted)
  t.same(
    configOf({ env: Object.fromEntries(texts.map(([name, text]) => [environmentName(name), text])) }),
    wanted,
  )
  t.same(
    configOf({ ...withFile, file: Object.fromEntries(texts.map(([name, text]) => [flagName(name), text])) }),
    wanted,
  )
})

t.test('switches take no value, or true or false, and never swallow the next argument', async (t) => {
  t.match(configOf({ argv: ['--allow-http', '--vault-qps', '3'] }), { allowHttp: true, vaultQps: 3 })
  t.equal(
    configOf({ argv: ['--allow-http=false'], env: { VAULT_FILES_ALLOW_HTTP: 'true' } }).allowHttp,
    false,
  )
  t.equal(configOf({ ...withFile, file: { 'allow-http': true } }).allowHttp, true)
  t.same(faultsOf({ argv: ['--allow-http=yes'] }), ['--allow-http: must be true or false, is "yes"'])
  t.same(faultsOf({ argv: ['--allow-http', 'true'] }), ['unexpected argument "true"'])
})

t.test('--allow-address accumulates; a variable is comma-separated; a file may have a list', async (t) => {
  const two = ['https://a', 'https://b:1']
  t.same(
    configOf({ argv: ['--allow-address', 'https://a/', '--allow-address=https://b:1'] }).allowAddress,
    two,
  )
  t.same(configOf({ env: { VAULT_FILES_ALLOW_ADDRESS: 'https://a, https://b:1,' } }).allowAddress, two)
  t.same(configOf({ ...withFile, file: { 'allow-address': two } }).allowAddress, two)
  t.same(configOf({ argv: ['--allow-address', '*'] }).allowAddress, ['*'])
  t.match(faultsOf({ argv: ['--allow-address', 'a', '--allow-address', 'b'] }), [
    /^--allow-address: .*, is "a"$/,
    /"b"$/,
  ])
})

t.test('the last of a repeated flag wins', async (t) => {
  t.equal(configOf({ argv: ['--vault-qps', '1', '--vault-qps=2'] }).vaultQps, 2)
})

t.test('an empty variable counts as not set', async (t) => {
  t.equal(configOf({ env: { VAULT_ADDR: '', VAULT_FILES_VAULT_QPS: '' } }).vaultQps, 50)
})

t.test(
  "defaults: a pretty log on a terminal, kubelet's endpoint from the endpoint, half of the node for a namespace",
  async (t) => {
    t.equal(configOf({ isTTY: true }).logFormat, 'pretty')
    t.equal(configOf({ isTTY: true, argv: ['--log-format=json'] }).logFormat, 'json')
    t.equal(configOf({ argv: ['--endpoint=unix:///a/b.sock'] }).kubeletEndpoint, '/a/b.sock')
    t.equal(configOf({ argv: ['--http-addr=off'] }).httpAddr, undefined)
    t.equal(configOf({ argv: ['--max-node-bytes=100Mi'] }).maxNamespaceBytes, 50 << 20)
    t.same(configOf({ argv: ['--http-addr=:80'] }).httpAddr, { host: '0.0.0.0', port: 80 })
  },
)

const bad: [string[], string][] = [
  [['--vault-adr=x'], 'unknown flag "--vault-adr", did you mean --vault-addr?'],
  [['--vaultAddr=x'], 'unknown flag "--vaultAddr", did you mean --vault-addr?'],
  [['--frobnicate'], 'unknown flag "--frobnicate", see --help'],
  [['--endpoint'], '--endpoint: needs a value'],
  [['--endpoint', '--allow-http'], '--endpoint: needs a value'],
  [
    ['--endpoint=/csi.sock'],
    '--endpoint: must be unix:// and an absolute path, such as unix:///csi/csi.sock, is "/csi.sock"',
  ],
  [['--node-id='], '--node-id: must be a text that is not empty, is ""'],
  [
    ['--driver-name=a/b'],
    '--driver-name: must be at most 63 letters, digits, - and ., as the CSI specification has it, is "a/b"',
  ],
  [['--registration-socket=a'], '--registration-socket: must be an absolute path or off, is "a"'],
  [['--imports=dir:'], '--imports: must be kube or dir:PATH, is "dir:"'],
  [
    ['--vault-addr=vault'],
    '--vault-addr: must be http://… or https://… without user, query or fragment, is "vault"',
  ],
  [
    ['--rotation-interval=2'],
    '--rotation-interval: must be a duration above 0 such as 30s, 2m or 1m30s, is "2"',
  ],
  [['--vault-qps=0'], '--vault-qps: must be a whole number above 0, is "0"'],
  [['--http-addr=9808'], '--http-addr: must be HOST:PORT, [IPV6]:PORT, :PORT or off, is "9808"'],
  [['--http-addr=a:70000'], '--http-addr: must be HOST:PORT, [IPV6]:PORT, :PORT or off, is "a:70000"'],
  [
    ['--max-volume-bytes=4MB'],
    '--max-volume-bytes: must be a size above 0 such as 4Mi, 512Ki or plain bytes, is "4MB"',
  ],
  [
    ['--max-namespace-bytes=1Gi'],
    '--max-namespace-bytes: must not be more than --max-node-bytes, which is 268435456',
  ],
  [
    ['--max-volume-bytes=200Mi'],
    '--max-volume-bytes: must not be more than --max-namespace-bytes, which is 134217728',
  ],
  [['--log-level=loud'], '--log-level: must be trace or debug or info or warn or error, is "loud"'],
  [['--http-tls-cert=a'], '--http-tls-key: required with --http-tls-cert'],
  [['--http-tls-key=a'], '--http-tls-cert: required with --http-tls-key'],
  [['--http-client-ca=a'], '--http-client-ca: needs --http-tls-cert and --http-tls-key'],
  [['--remove-startup-taint=a'], '--remove-startup-taint: needs --registration-socket and --imports=kube'],
  [
    ['--rotation-interval=5s'],
    '--rotation-interval: must not be shorter than --min-refresh-interval, which is 10s',
  ],
  [['--config=/nowhere'], '--config (/nowhere): ENOENT: no such file /nowhere'],
]

for (const [argv, message] of bad) {
  t.test(`refused: ${argv.join(' ')}`, async (t) => t.same(faultsOf({ argv }), [message]))
}

t.test('all faults are reported at once, each with the source of the value', async (t) => {
  const faults = faultsOf({
    argv: [...withFile.argv, '--vault-qps=x', 'stray'],
    env: { NODE_NAME: '', VAULT_FILES_LOG_LEVEL: 'loud' },
    file: { 'http-addr': 'nowhere', vaultAddr: 'https://v', imports: ['kube'] },
  })
  t.same(faults, [
    'unexpected argument "stray"',
    '/etc/settings.yaml: unknown setting "vaultAddr", did you mean vault-addr?',
    '--imports (from /etc/settings.yaml): must be a plain value',
    '--node-id: required (default: $NODE_NAME, which is not set)',
    '--vault-qps: must be a whole number above 0, is "x"',
    '--http-addr (from /etc/settings.yaml): must be HOST:PORT, [IPV6]:PORT, :PORT or off, is "nowhere"',
    '--log-level (from VAULT_FILES_LOG_LEVEL): must be trace or debug or info or warn or error, is "loud"',
  ])
})

t.test('a password in an address is refused without being repeated', async (t) => {
  const [fault, ...others] = faultsOf({ env: { VAULT_ADDR: 'https://me:canary@vault' } })
  t.match(fault, '--vault-addr (from VAULT_ADDR): must be http')
  t.notMatch(fault, 'canary')
  t.equal(others.length, 0)
})

t.test('an empty settings file changes nothing, one that is not a mapping is a fault', async (t) => {
  t.equal(configOf({ ...withFile, file: null }).vaultQps, 50)
  t.match(faultsOf({ ...withFile, file: ['a'] }), [/must be a mapping of settings/])
  t.equal(
    configOf({ env: { VAULT_FILES_CONFIG: '/etc/settings.yaml' }, file: { 'vault-qps': 9 } }).vaultQps,
    9,
  )
})

t.test('--help and --version win over faults', async (t) => {
  t.same(parse({ argv: ['--version', '--nonsense'] }), { version: true })
  t.match(parse({ argv: ['--nonsense', '-h'] }), { help: /usage: vault-files-csi/ })
})

t.test('the help lists every setting with its variable and default, in lines of limited width', async (t) => {
  const help = helpText()
  for (const name of settingNames) {
    t.match(help, new RegExp(`^  --${flagName(name)}( |$)`, 'm'))
    t.ok(help.includes(`Environment: ${environmentName(name)}.`), environmentName(name))
    t.ok(settingsTable().includes(`| \`--${flagName(name)}`), `table: ${name}`)
  }
  t.match(help, 'Default: 2m.')
  t.match(help, 'Default: none: every import must name one.')
  t.ok(help.split('\n').every((line) => line.length <= 110))
})

t.test('settings cannot be changed afterwards', async (t) => {
  t.ok(Object.isFrozen(configOf({})))
})
