import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { CHART, KUBE_VERSION, ROOT } from '../../deploy/generate/deploy-files.ts'
import { helm } from '../../deploy/generate/helm.ts'
import { parseConfig } from '../../src/core/settings/parse-config.ts'
import { ALL_ON, argsOf } from '../harness/cluster/chart.ts'

// Building helm, once on a machine, takes minutes.
t.setTimeout(900_000)

t.test('the plugin takes every flag that the chart passes', async (t) => {
  for (const [values, args] of [
    ['defaults', await argsOf()],
    ['everything on', await argsOf(ALL_ON)],
  ] as const) {
    const parsed = parseConfig({
      argv: args,
      env: { NODE_NAME: 'node1' },
      readFile: () => ({}),
      isTTY: false,
    })
    t.match(parsed, { config: { nodeId: 'node1' } }, values)
  }
})

t.test('values reach the settings that they are for', async (t) => {
  const argv = await argsOf(ALL_ON)
  const parsed = parseConfig({ argv, env: { NODE_NAME: 'node1' }, readFile: () => ({}), isTTY: false })
  t.match(parsed, {
    config: {
      endpoint: 'unix:///csi/csi.sock',
      kubeletEndpoint: '/var/lib/k0s/kubelet/plugins/other.csi.example.org/csi.sock',
      registrationSocket: '/registration/other.csi.example.org-reg.sock',
      driverName: 'other.csi.example.org',
      removeStartupTaint: 'example.org/starting',
      stateDir: '/run/other',
      vaultAddr: 'https://vault.example.org:8200',
      vaultAuthPath: 'main-kube',
      vaultNamespace: 'team-a',
      vaultCaCert: '/vault-ca/root.pem',
      vaultSkipVerify: true,
      vaultQps: 20,
      vaultConcurrency: 4,
      rotationIntervalMs: 300_000,
      minRefreshIntervalMs: 30_000,
      maxVolumeBytes: 8 << 20,
      maxNodeBytes: 300 << 20,
      maxNamespaceBytes: 100 << 20,
      allowAddress: ['https://other.example.org', '*'],
      allowHttp: true,
      allowSkipVerify: true,
      allowTokenExport: true,
      allowSecretSync: true,
      httpAddr: { host: '::', port: 9900 },
      httpTlsCert: '/http-tls/tls.crt',
      httpTlsKey: '/http-tls/tls.key',
      httpClientCa: '/http-tls/ca.crt',
      logLevel: 'trace',
      logFormat: 'pretty',
    },
  })
})

t.test('messages name values that the chart has', async (t) => {
  const sources = globSync('src/**/*.ts', { cwd: ROOT }).map((path) => readFileSync(join(ROOT, path), 'utf8'))
  const named = sources.flatMap((text) => [...text.matchAll(/([\w.]+=\w+) in the Helm values/g)])
  t.ok(named.length > 0)
  for (const [, value = ''] of named) {
    t.ok((await helm('template', 'x', CHART, KUBE_VERSION, '--set', value)).ok, value)
  }
})

t.test('a bad value is refused in words that name it', async (t) => {
  const bad: [string, RegExp][] = [
    ['vault.adress=x', /'\/vault'.*'adress' not allowed/],
    ['vault.address=vault.example.org', /'\/vault\/address': 'vault.example.org' does not match/],
    ['vault.address=https://user@vault', /'\/vault\/address'/],
    ['vault.qps=0', /'\/vault\/qps': minimum: got 0, want 1/],
    ['http.port=70000', /'\/http\/port': maximum: got 70,000, want 65,535/],
    ['rotationInterval=2 minutes', /'\/rotationInterval': '2 minutes' does not match/],
    ['maxNodeSize=much', /'\/maxNodeSize': 'much' does not match/],
    ['maxVolumeSize=much', /'\/maxVolumeSize': 'much' does not match/],
    ['csiDriver.name=Bad_Name', /'\/csiDriver\/name': 'Bad_Name' does not match/],
    ['csiDriver.tokenRequests[0].expirationSeconds=60', /expirationSeconds': minimum: got 60, want 600/],
    ['image.pullPolicy=Sometimes', /'\/image\/pullPolicy': value must be one of 'IfNotPresent'/],
    ['log.level=loud', /'\/log\/level': value must be one of 'trace'/],
    ['allow.addresses={ftp://x}', /'\/allow\/addresses\/0': 'ftp:\/\/x' does not match/],
    ['extraArgs={verbose}', /'\/extraArgs\/0': 'verbose' does not match/],
    ['updateStrategy.rollingUpdate.maxSurge=1', /maxSurge': value must be 0/],
    ['kubelet.rootDir=var/lib', /'\/kubelet\/rootDir'/],
    ['secretSync.enable=true', /'\/secretSync'.*'enable' not allowed/],
    ['rbac.events=maybe', /'\/rbac\/events': got string, want boolean/],
    ['terminationGracePeriodSeconds=5', /minimum: got 5, want 21/],
  ]
  for (const [value, words] of bad) {
    const { ok, stderr } = await helm('template', 'x', CHART, KUBE_VERSION, '--set', value)
    t.notOk(ok, value)
    t.match(stderr, words, value)
  }
})
