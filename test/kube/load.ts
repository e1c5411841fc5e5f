import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConnection } from '../../src/kube/load.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeKubeApi } from '../fakes/kube-api.ts'
import { faulty } from '../harness/faulty.ts'

const never = new AbortController().signal

function bench(t: Test, files: Record<string, string>) {
  const folder = t.testdir(files)
  const clock = new FakeClock()
  const load = (env: Record<string, string>) =>
    loadConnection({ clock, env, home: folder, serviceAccountFolder: join(folder, 'sa') })
  return { folder, clock, load }
}

const kubeconfig = (user: object, cluster: object = {}) =>
  JSON.stringify({
    'current-context': 'here',
    contexts: [{ name: 'here', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster: { server: 'https://10.1.2.3:6443/', ...cluster } }],
    users: [{ name: 'u', user }],
  })

t.test('a kubeconfig gives server, CA and token', async (t) => {
  const ca = Buffer.from('the ca').toString('base64')
  const { folder, load } = bench(t, {
    config: kubeconfig({ token: 'secret' }, { 'certificate-authority-data': ca, 'tls-server-name': 'api' }),
  })
  const connection = load({ KUBECONFIG: join(folder, 'config') })
  t.match(connection, { server: 'https://10.1.2.3:6443', tlsServerName: 'api', skipTLSVerify: false })
  const { token, ca: read } = await connection.credentials.current()
  t.equal(token?.reveal(), 'secret')
  t.equal(read, 'the ca')
})

t.test("files that a kubeconfig names count from the kubeconfig's folder", async (t) => {
  const { folder, load } = bench(t, {
    config: kubeconfig(
      { 'client-certificate': 'me.crt', 'client-key': 'me.key', tokenFile: 'token' },
      { 'certificate-authority': 'ca.crt' },
    ),
    'me.crt': 'certificate',
    'me.key': 'key',
    'ca.crt': 'ca',
    token: 'from file\n',
  })
  const credential = await load({ KUBECONFIG: join(folder, 'config') }).credentials.current()
  t.equal(credential.ca, 'ca')
  t.equal(credential.token?.reveal(), 'from file')
  t.equal(credential.certificate?.certificate, 'certificate')
  t.equal(credential.certificate?.key.reveal(), 'key')
})

t.test('of several kubeconfigs the first that names something wins', async (t) => {
  const { folder, load } = bench(t, {
    one: JSON.stringify({
      'current-context': 'here',
      contexts: [],
      clusters: [],
      users: [{ name: 'u', user: { token: 'first' } }],
    }),
    two: kubeconfig({ token: 'second' }),
  })
  const connection = load({ KUBECONFIG: `${join(folder, 'one')}:${join(folder, 'two')}` })
  t.equal((await connection.credentials.current()).token?.reveal(), 'first')
})

t.test('a command gives the token', async (t) => {
  const credential = { kind: 'ExecCredential', status: { token: 'printed' } }
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: 'sh',
    args: ['-c', `test -n "$KUBERNETES_EXEC_INFO" && echo '${JSON.stringify(credential)}'`],
  }
  const { folder, load } = bench(t, { config: kubeconfig({ exec }) })
  const connection = load({ KUBECONFIG: join(folder, 'config') })
  t.equal((await connection.credentials.current()).token?.reveal(), 'printed')
})

t.test('a command runs again once its credential has expired or was refused', async (t) => {
  const { folder, clock, load } = bench(t, { runs: '' })
  const status = {
    expirationTimestamp: new Date(clock.now() + 90_000).toISOString(),
    clientCertificateData: 'certificate',
    clientKeyData: 'key',
  }
  const credential = JSON.stringify({ kind: 'ExecCredential', status })
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: 'sh',
    args: ['-c', 'echo run >> "$RUNS"; cat; echo "$CREDENTIAL"'],
    env: [
      { name: 'RUNS', value: join(folder, 'runs') },
      { name: 'CREDENTIAL', value: credential },
    ],
  }
  writeFileSync(join(folder, 'config'), kubeconfig({ exec }))
  const { credentials } = load({ KUBECONFIG: join(folder, 'config') })
  const runs = () => readFileSync(join(folder, 'runs'), 'utf8').split('\n').length - 1
  const { certificate, token } = await credentials.current()
  t.equal(certificate?.certificate, 'certificate')
  t.equal(certificate?.key.reveal(), 'key')
  t.equal(token, undefined)
  await clock.advance(60_000)
  await credentials.current()
  t.equal(runs(), 1, 'not expired yet')
  await clock.advance(60_000)
  await credentials.current()
  t.equal(runs(), 2)
  credentials.expire()
  await credentials.current()
  t.equal(runs(), 3)
})

t.test('a command that prints no credential, or does not exist, is named', async (t) => {
  for (const [command, args] of [
    ['echo', ['canary']],
    ['echo', ['{"kind":"ExecCredential"}']],
    ['/no/such/command', []],
  ] as const) {
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command, args }
    const { folder, load } = bench(t, { config: kubeconfig({ exec }) })
    const failed = await load({ KUBECONFIG: join(folder, 'config') })
      .credentials.current()
      .catch((error: unknown) => error)
    t.match(failed, { message: `command ${command} gave no credential` })
    t.notMatch(String(failed), /canary/)
  }
})

t.test('a command that fails is named, its words are not shown', async (t) => {
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: 'sh',
    args: ['-c', 'echo canary >&2; exit 1'],
  }
  const { folder, load } = bench(t, { config: kubeconfig({ exec }) })
  const failed = await load({ KUBECONFIG: join(folder, 'config') })
    .credentials.current()
    .catch((error: unknown) => error)
  t.match(failed, { message: /command sh gave no credential/ })
  t.notMatch(String(failed), /canary/)
})

t.test("a pod uses its own service account, and ~/.kube/config is for people's machines", async (t) => {
  const { folder, load } = bench(t, {})
  mkdirSync(join(folder, '.kube'))
  writeFileSync(join(folder, '.kube', 'config'), kubeconfig({ token: 'mine' }))
  t.equal(load({}).server, 'https://10.1.2.3:6443')
  mkdirSync(join(folder, 'sa'))
  writeFileSync(join(folder, 'sa', 'token'), 'pod token')
  writeFileSync(join(folder, 'sa', 'ca.crt'), 'pod ca')
  const connection = load({ KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' })
  t.equal(connection.server, 'https://[fd00::1]:6443')
  const credential = await connection.credentials.current()
  t.equal(credential.token?.reveal(), 'pod token')
  t.equal(credential.ca, 'pod ca')
})

t.test('with neither the message has the next step', async (t) => {
  const { load } = bench(t, {})
  t.throws(
    () => load({}),
    faulty('imports_unavailable', /KUBECONFIG is not set.*automountServiceAccountToken.*--imports dir:PATH/),
  )
})

t.test('faults of a kubeconfig name the field, never the value', async (t) => {
  for (const [content, message] of [
    ['token: [canary', /is not YAML/],
    [
      JSON.stringify({ contexts: [], clusters: [], users: [{ name: 'u', user: { token: ['canary'] } }] }),
      /users\.0\.user\.token/,
    ],
    [kubeconfig({ username: 'a', password: 'canary' }), /not supported here: username/],
    [
      kubeconfig({ 'auth-provider': { name: 'gcp' } }, { 'proxy-url': 'http://canary' }),
      /proxy-url, auth-provider \(use exec\)/,
    ],
    [kubeconfig({}).replace('"here"', '"there"'), /current-context: "there" is not among contexts/],
  ] as const) {
    const { folder, load } = bench(t, { config: content })
    let told = ''
    try {
      load({ KUBECONFIG: join(folder, 'config') })
    } catch (error) {
      told = String(error)
    }
    t.match(told, message)
    t.notMatch(told, /canary/)
  }
})

t.test(
  'a token file is read again after a minute, and at once when the API server refuses the old token',
  async (t) => {
    const api = new FakeKubeApi()
    await api.start()
    t.teardown(() => api.stop())
    const { folder, clock, load } = bench(t, { token: 'old', config: '' })
    writeFileSync(join(folder, 'config'), kubeconfig({ tokenFile: 'token' }, { server: api.url }))
    const { credentials } = load({ KUBECONFIG: join(folder, 'config') })
    const client = api.client(clock, credentials)
    t.teardown(() => client.close())
    const get = () =>
      client.call({ method: 'GET', path: '/apis/deckhouse.io/v1alpha1/secretsstoreimports' }, never)

    api.validToken = 'old'
    t.equal((await get()).status, 200)
    writeFileSync(join(folder, 'token'), 'new')
    t.equal((await get()).status, 200, 'still the old one, for up to a minute')
    api.validToken = 'new'
    t.equal((await get()).status, 200)
    t.same(
      api.seen.map(({ token }) => token),
      ['old', 'old', 'old', 'new'],
    )
    writeFileSync(join(folder, 'token'), 'newest')
    await clock.advance(60_000)
    await get()
    t.equal(api.seen.at(-2)?.token, 'newest')
  },
)
