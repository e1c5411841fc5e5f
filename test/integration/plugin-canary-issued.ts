import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { KubeletError } from '../harness/kubelet/kubelet.ts'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'
import { setUpAppRole, setUpPki } from '../harness/vault/vault-engines.ts'
import { attributesRefused } from '../harness/volume/tmpfs.ts'

// As plugin-canary.ts, for credentials of leases, for templates and formats: does any of it get out?

const CANARY = 'canary-of-the-value-4711'

t.test('no credential and no rendered value is logged or stored', async (t) => {
  const node = await startRealNode(t, { args: ['--allow-token-export', '--log-level=trace'] })
  const { admin } = node.vault
  await setUpPki(admin)
  await setUpAppRole(admin, { secret_id_ttl: 4 })
  await node.vault.put('app', { value: CANARY, nul: `${CANARY}\0`, list: [CANARY], 'bad key': CANARY })
  const policy = ['pki/issue/web', 'auth/approle/role/app/secret-id', 'auth/approle/role/app/role-id']
    .map((path) => `path "${path}" { capabilities = ["update", "read"] }`)
    .join('\n')
  await admin.write('sys/policies/acl/all', { policy })
  await node.vault.writeRole('all', { token_policies: 'app,all' })

  const source = { path: 'secret/data/app' }
  const template = (text: string) => ({ files: [{ name: 'x', source, template: text }] })
  const refused: Record<string, object> = {
    unknown: template('{{ value }} {{ valeu }}'),
    filter: template('{{ value | append: missing }}'),
    argument: template('{{ list.first.nope }}'),
    'bad-name': { files: [], dataFrom: [source] },
    nul: { files: [], dataFrom: [{ ...source, include: 'nul', format: 'Shell', fileName: 'env' }] },
    hex: { files: [{ name: 'x', source: { ...source, key: 'value' }, encoding: 'hex' }] },
  }
  const errors: KubeletError[] = []
  for (const [name, spec] of Object.entries(refused)) {
    await node.writeImport(name, { role: 'all', ...spec })
    errors.push(await node.refusal({ importName: name }))
  }

  await node.writeImport('issued', {
    role: 'all',
    sources: [
      {
        name: 'web',
        path: 'pki/issue/web',
        method: 'PUT',
        data: { common_name: 'a.example.org', ttl: '4s' },
      },
    ],
    files: [{ name: 'tls.key', source: { ref: 'web', key: 'private_key' } }],
    credentials: [
      { format: 'Token', name: 'token' },
      { format: 'SecretID', name: 'secret-id', role: 'app' },
      { format: 'WrappedSecretID', name: 'wrapped', role: 'app' },
    ],
  })
  const volume = await node.publish({ importName: 'issued' })
  const secrets = new Set<string>()
  const gather = () => {
    secrets.add(volume.read('token'))
    for (const name of ['secret-id', 'wrapped']) {
      const { secretId, wrappedSecretId } = JSON.parse(volume.read(name)) as Record<string, string>
      secrets.add(secretId ?? wrappedSecretId ?? '')
    }
    // The middle of a PEM, which a log would have to break in lines too.
    secrets.add(volume.read('tls.key').split('\n')[1] ?? '')
  }
  gather()
  const before = secrets.size
  await until('other keys and secret IDs', () => {
    gather()
    return secrets.size >= before + 3
  })
  await node.kill9()
  await node.start()
  await node.republish(volume)
  await until(
    'the volume to be in sync',
    async () => (await node.metrics()).sum('volumes', { state: 'inSync' }) === 1,
  )
  gather()
  for (const token of node.front.tokens) secrets.add(token)
  secrets.add(CANARY)
  t.notOk(secrets.has(''))
  t.ok(secrets.size > 10, `${secrets.size} secrets`)

  const state = join(node.folder, 'state/volumes')
  /** Each with something that it holds when it is what it should be. */
  const places: Record<string, [text: string, holds: RegExp]> = {
    'the log': [node.output(), /"importName":"issued"/],
    'the metrics page': [(await node.metrics()).text, /vault_files_volumes/],
    'the error texts': [
      errors.map(({ message, details }) => `${message}\n${details}`).join('\n'),
      /INVALID_ARGUMENT|FAILED_PRECONDITION/,
    ],
    'the ledger': [
      readdirSync(state)
        .map((name) => readFileSync(join(state, name), 'latin1'))
        .join('\n'),
      /leaseStoreKey/,
    ],
  }
  const attributes = "the attributes of the volume's root"
  const refusal = attributesRefused()
  if (refusal === undefined) places[attributes] = [attributesOf(volume.target), /^trusted\.vault-files-csi /m]
  else await t.test(attributes, { skip: refusal }, async () => {})
  for (const [place, [text, holds]] of Object.entries(places)) {
    t.match(text, holds, `${place}: ${text.length} characters`)
    const found = [...secrets].filter((secret) => text.includes(secret))
    t.strictSame(
      found.map((secret) => `${secret.slice(0, 8)}…`),
      [],
      `${place} holds no secret`,
    )
  }
  await node.unpublish(volume)
})

/** What root of the machine sees there. */
function attributesOf(path: string): string {
  const script =
    'import os,sys\nfor n in os.listxattr(sys.argv[1]): sys.stdout.buffer.write(n.encode()+b" "+os.getxattr(sys.argv[1],n))'
  return execFileSync('python3', ['-c', script, path], { encoding: 'latin1' })
}
