import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import t from 'tap'
import { KubeletError, publishRequest } from '../harness/kubelet/kubelet.ts'
import { podVolume, tokensFor } from '../harness/kubelet/pod-volume.ts'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'

// The whole program at its most talkative log level, and then: does any output hold a secret?

const OPERATORS_TOKEN = 'hvs.CanaryOfTheOperatorsOwnEnvironment'
const environment = { DEBUG: '*', VAULT_TOKEN: OPERATORS_TOKEN, VAULT_SKIP_VERIFY: 'true', NODE_DEBUG: '' }
const node = await startRealNode(t, {
  args: ['--log-level=trace', '--allow-address=*', '--allow-http', '--max-volume-bytes=64Ki'],
  env: environment,
})
const { vault, front, kubelet } = node

const canaries = ['plain', 'json', 'bytes', 'large', 'undecodable', 'changed'].map(
  (name) => `canary-${name}-4711`,
)
const [plain, json, bytes, large, undecodable, changed] = canaries as [
  string,
  string,
  string,
  string,
  string,
  string,
]
/** Service-account tokens that kubelet brought. */
const podTokens = new Set<string>()
const errors: KubeletError[] = []

const base64 = Buffer.from(bytes).toString('base64')
await vault.put('app', { plain, json: { deep: [json] }, base64, undecodable })
await vault.admin.write('kv1/large', { password: large.repeat(10_000) })

const file = (name: string, key: string, more: object = {}) => ({
  name,
  source: { path: 'secret/data/app', key },
  ...more,
})
const good = [file('plain', 'plain'), file('json', 'json'), file('bytes', 'base64', { encoding: 'base64' })]
const bad: Record<string, object> = {
  undecodable: { files: [file('x', 'undecodable', { encoding: 'base64' })] },
  'not-hex': { files: [file('x', 'plain', { encoding: 'hex' })] },
  denied: { files: [{ name: 'x', source: { path: 'locked/app', key: 'x' } }] },
  large: { files: [{ name: 'x', source: { path: 'kv1/large', key: 'password' } }] },
  'no-path': { files: [{ name: 'x', source: { path: 'kv1/none', key: 'x' } }] },
  'no-key': { files: [{ name: 'x', source: { path: 'kv1/large', key: 'x' } }] },
  'no-role': { role: 'nope', files: good },
  'no-mount': { authPath: 'nowhere', files: good },
  'no-vault': { address: 'http://127.0.0.1:1', files: good },
  'no-tls': { address: front.address.replace('http', 'https'), files: good },
}

async function keepError(task: Promise<unknown>): Promise<void> {
  const error = await task.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof KubeletError)) throw new Error('a call must fail', { cause: error })
  errors.push(error)
}

/** Publishes with tokens that are remembered. */
function wishFor(importName: string) {
  const volume = podVolume(node.folder, vault.issuer, { importName })
  for (const { token } of Object.values(volume.args.tokens ?? {})) podTokens.add(token)
  return { importName, tokens: volume.args.tokens ?? {} }
}

await node.writeImport('good', { role: 'app', refreshInterval: '200ms', files: good })
const volume = await node.publish(wishFor('good'))

await t.test('everything that can be refused is refused', async (t) => {
  for (const [name, spec] of Object.entries(bad)) {
    await node.writeImport(name, { role: 'app', ...spec })
    errors.push(await node.refusal(wishFor(name)))
  }
  for (const status of [400, 403, 429, 500, 503]) {
    // A Vault gone mad that repeats what it was sent, and more.
    const words = `${plain} ${[...podTokens].join(' ')} ${[...front.tokens].join(' ')}`
    front.answer = () => ({ status, body: JSON.stringify({ errors: [words.slice(words.indexOf(' ') + 1)] }) })
    errors.push(await node.refusal({ ...wishFor('good'), serviceAccount: `mad-${status}` }))
    front.answer = () => ({ status, body: `${plain} <html>` })
    errors.push(await node.refusal({ ...wishFor('good'), serviceAccount: `madder-${status}` }))
  }
  front.answer = () => undefined
  const { args } = podVolume(node.folder, vault.issuer, wishFor('good'))
  const request = publishRequest(args)
  const token = [...podTokens].at(-1)
  const raws = [
    { ...request, volume_id: '' },
    {
      ...request,
      volume_context: { ...request.volume_context, 'csi.storage.k8s.io/serviceAccount.tokens': `{${token}` },
    },
    { ...request, secrets: { 'csi.storage.k8s.io/serviceAccount.tokens': JSON.stringify({ vault: token }) } },
    { ...request, target_path: volume.target },
  ]
  for (const raw of raws) await keepError(kubelet.raw('NodePublishVolume', raw))
  t.ok(errors.length > 20)
})

await t.test('and what goes well goes on', async (t) => {
  await vault.put('app', { plain: changed, json: { deep: [json] }, base64, undecodable })
  await until('the rotation', () => volume.read('plain') === changed)
  const tokens = tokensFor(vault.issuer, volume.args.pod)
  for (const { token } of Object.values(tokens)) podTokens.add(token)
  await node.republish(volume, { tokens })
  await vault.bao.seal()
  await until('the outage to be reported', () => node.output().includes('refresh failed'))
  await vault.bao.unseal()
  process.kill(node.plugin().process.pid!, 'SIGHUP')
  await until('the reload', () => node.output().includes('reload done'))
  await node.kill9()
  await node.start()
  await node.republish(volume, { tokens })
  await until(
    'the volume to be in sync',
    async () => (await node.metrics()).sum('volumes', { state: 'inSync' }) === 1,
  )
  t.equal(volume.read('plain'), changed)
})

await t.test('no output and no stored file holds a secret or a token', async (t) => {
  const tokens = [...podTokens, ...front.tokens, vault.bao.rootToken]
  t.ok(podTokens.size > 10 && front.tokens.size > 1, 'there were tokens that could leak')
  const secrets = [
    ...canaries,
    base64,
    ...tokens,
    ...tokens.map((token) => Buffer.from(token).toString('base64')),
  ]
  const pid = node.plugin().process.pid!
  const places: Record<string, string> = {
    'the log': node.output(),
    'the metrics page': (await node.metrics()).text,
    'the health page': await (await node.http('/readyz')).text(),
    'the error texts': errors.map(({ message, details }) => `${message}\n${details}`).join('\n'),
    'the command line': readFileSync(`/proc/${pid}/cmdline`, 'latin1'),
    'the environment': readFileSync(`/proc/${pid}/environ`, 'latin1'),
    'the files of the state directory': textsUnder(join(node.folder, 'state')),
    'other files of ours': textsUnder(node.folder, ['state', 'pods', 'compiled']),
  }
  for (const [place, text] of Object.entries(places)) {
    t.ok(text.length > 0, `${place}: ${text.length} characters`)
    for (const secret of secrets) if (text.includes(secret)) t.fail(`${place} holds ${secret.slice(0, 12)}…`)
    if (place !== 'the environment') t.notOk(text.includes(OPERATORS_TOKEN), `${place} holds no VAULT_TOKEN`)
    t.notMatch(text.replaceAll('csi.sock', ''), /eyJ[\w-]{10,}\.[\w-]{10,}/, `${place} holds no JWT`)
  }
  t.ok(places['the log']?.includes('"level":"debug"'), 'it logged at its most talkative level')
  t.notOk(front.tokens.has(OPERATORS_TOKEN), "the environment's token was never sent to Vault")
  await node.unpublish(volume)
})

t.test('another process of the same user may not look into its memory', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-dumpable-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'imports'))
  const socket = join(folder, 'csi.sock')
  // Without this capability the kernel asks whether the process is dumpable, be it root's.
  const weak = ['--bounding-set=-sys_ptrace', '--inh-caps=-all']
  const program = resolve(import.meta.dirname, '../../src/main.ts')
  const args = [
    '--node-id=n',
    '--http-addr=off',
    `--imports=dir:${folder}/imports`,
    `--state-dir=${folder}/state`,
  ]
  const plugin = spawn('setpriv', [
    ...weak,
    process.execPath,
    program,
    `--endpoint=unix://${socket}`,
    ...args,
  ])
  const other = spawn('setpriv', [...weak, 'sleep', '60'])
  await until('the plugin to serve', () => existsSync(socket), { timeoutMs: 20_000 })
  const mayLook = async (pid: number) => {
    const look = spawn('setpriv', [...weak, 'readlink', `/proc/${pid}/cwd`], { stdio: 'ignore' })
    const [code] = (await once(look, 'close')) as [number]
    return code === 0
  }
  t.ok(await mayLook(other.pid!), 'any other process it may')
  t.notOk(await mayLook(plugin.pid!), 'the plugin it may not')
  other.kill('SIGKILL')
  const ended = once(plugin, 'close')
  plugin.kill('SIGTERM')
  t.equal((await ended)[0], 0)
})

/** All that the files of a folder hold, names included. */
function textsUnder(folder: string, except: readonly string[] = []): string {
  const entries = readdirSync(folder, { withFileTypes: true }).filter(({ name }) => !except.includes(name))
  return entries
    .map((entry) => {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) return `${path}\n${textsUnder(path)}`
      return entry.isFile() ? `${path}\n${readFileSync(path, 'latin1')}` : path
    })
    .join('\n')
}
