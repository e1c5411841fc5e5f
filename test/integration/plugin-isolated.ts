import t from 'tap'
import { parse } from 'yaml'
import { startTokenReview } from '../fakes/token-review.ts'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'
import { createDocShell, type DocBlock, docBlocks } from '../harness/vault/doc-shell.ts'
import { createVaultAdmin } from '../harness/vault/vault-admin.ts'

// docs/app-teams/shared-paths.md, read aloud: its commands set a real OpenBao up, its imports are those of the pods.

const PAGE = 'docs/app-teams/shared-paths.md'
/** Typed to find out, not to set anything up. */
const QUESTIONS = 'Who may read what'

const node = await startRealNode(t, { args: ['--rotation-interval=1h'] })
const { vault } = node
const secondary = await startTokenReview()
t.teardown(() => secondary.close())
const shell = await createDocShell(vault, {
  env: { MAIN_API: vault.review.address, SECONDARY_API: secondary.address },
  accounts: ['shop.backend'],
})
t.teardown(() => shell.close())
const blocks = docBlocks(PAGE)
await vault.admin.setUpJwt({ mount: 'main-kube-jwt', issuerKey: vault.issuer })
for (const block of blocks) if (block.language === 'sh' && block.heading !== QUESTIONS) await setUp(block)

const own = (namespace: string) => fileOf(`main/data/${namespace}/db`)
const shared = { name: 'registry', source: { path: 'main/data/_shared/registry', key: 'host' } }
const roleAndMount = { role: 'namespaces', authPath: 'main-kube' }

function fileOf(path: string): object {
  return { name: 'db-password', source: { path, key: 'password' } }
}

/** A new KV v2 mount is not ready at once. */
async function setUp({ text }: DocBlock): Promise<void> {
  await shell.run(text)
  const { adminAddress, rootToken } = vault.bao
  for (const [, mount = ''] of text.matchAll(/^bao secrets enable -path=(\w+)/gm)) {
    const namespace = /^export BAO_NAMESPACE=(\S+)$/m.exec(text)?.[1]
    const options = { address: adminAddress, token: rootToken, ...(namespace ? { namespace } : {}) }
    const admin = createVaultAdmin(options)
    await until(`${mount} to be ready`, () =>
      admin.read(`${mount}/config`).then(
        () => true,
        () => false,
      ),
    )
  }
}

let count = 0

/** Writes an import, of the page or made up, and waits until the plugin has taken it. */
async function apply(manifest: Manifest): Promise<{ importName: string; namespace: string }> {
  count += 1
  const { name, namespace } = manifest.metadata
  node.writeImportFile(`isolated-${count}.json`, JSON.stringify(manifest))
  const isTaken = () =>
    node.log().some(({ msg, importName }) => msg === 'import changed' && importName === name)
  await until(`${namespace}/${name} to be taken`, isTaken)
  return { importName: name, namespace }
}

type Manifest = { metadata: { name: string; namespace: string }; spec: object }

function importOf(namespace: string, spec: object): Promise<{ importName: string; namespace: string }> {
  return apply({
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { name: `import-${count}`, namespace },
    spec: { ...roleAndMount, ...spec },
  } as Manifest)
}

/** What a pod finds in a file; then it is gone again. */
async function readBy(wish: { importName: string; namespace: string }, file = 'db-password', more = {}) {
  const volume = await node.publish({ ...wish, ...more })
  const content = volume.read(file)
  await node.unpublish(volume)
  return content
}

function manifestUnder(heading: string): Manifest {
  const block = blocks.find((one) => one.heading === heading && one.language === 'yaml')
  return parse(block?.text ?? '') as Manifest
}

t.test("the page's import: a pod reads what is its namespace's and what is shared", async (t) => {
  const backend = await apply(manifestUnder('What a team writes'))
  const volume = await node.publish(backend)
  t.equal(volume.read('db-password'), 'of-shop')
  t.equal(volume.read('registry'), 'registry.example.org')
  await node.unpublish(volume)
})

t.test('another namespace reads its own by the same role and policy', async (t) => {
  const wish = await importOf('office', { files: [own('office'), shared] })
  t.equal(await readBy(wish), 'of-office')
  t.equal(await readBy(wish, 'registry'), 'registry.example.org')
})

t.test("another namespace's path is refused, with the path and the policy that would grant it", async (t) => {
  const wish = await importOf('office', { files: [own('shop'), shared] })
  const { code, details } = await node.refusal(wish)
  t.equal(code, 'PERMISSION_DENIED')
  const page = blocks.find(({ heading }) => heading === 'What a team cannot do')
  for (const line of page?.text.trim().split('\n') ?? ['no such block']) {
    t.ok(details.includes(line), `${line} in: ${details}`)
  }
  const reverse = await node.refusal(await importOf('shop', { files: [own('office')] }))
  t.match(reverse.details, /path "main\/data\/office\/db" \{ capabilities = \["read"\] \}/)
})

t.test('one policy for each namespace: its role lets no other namespace in', async (t) => {
  const role = { role: 'shop', files: [own('shop'), shared] }
  t.equal(await readBy(await importOf('shop', role)), 'of-shop')
  const stranger = await node.refusal(await importOf('office', role))
  t.equal(stranger.code, 'PERMISSION_DENIED')
  t.match(stranger.details, /namespace not authorized.*role "shop"/s)
  const greedy = await node.refusal(await importOf('shop', { role: 'shop', files: [own('office')] }))
  t.match(greedy.details, /policy of role "shop": path "main\/data\/office\/db"/)
})

t.test('a namespace of the other cluster is another one, whatever its name', async (t) => {
  const there = { authPath: 'secondary-kube' }
  const wish = await importOf('shop', { ...there, files: [fileOf('secondary/data/shop/db')] })
  t.equal(await readBy(wish), 'of-shop-there')
  const greedy = await node.refusal(await importOf('shop', { ...there, files: [own('shop')] }))
  t.match(greedy.details, /auth mount "secondary-kube".*path "main\/data\/shop\/db"/s)
  secondary.mode = 'unauthenticated'
  const stranger = await node.refusal({ ...wish, serviceAccount: 'of-main' })
  t.equal(stranger.code, 'PERMISSION_DENIED', 'its API server does not know the token')
  secondary.mode = 'ok'
})

t.test('with the service account in the path applications of one namespace are apart', async (t) => {
  const files = [fileOf('main/data/shop/backend/db')]
  const wish = await importOf('shop', { role: 'applications', files })
  t.equal(await readBy(wish, 'db-password', { serviceAccount: 'backend' }), 'of-backend')
  const other = await node.refusal({ ...wish, serviceAccount: 'frontend' })
  t.match(other.details, /service account "shop\/frontend".*path "main\/data\/shop\/backend\/db"/s)
})

t.test('no pod writes, not even to its own path', async (t) => {
  const path = 'main/data/shop/db'
  const write = { name: 'write', path, method: 'PUT', data: { data: { password: 'of-office' } } }
  const files = [{ name: 'version', source: { ref: 'write', key: 'version' } }]
  const { code, details } = await node.refusal(await importOf('shop', { sources: [write], files }))
  t.equal(code, 'PERMISSION_DENIED')
  t.match(details, /Vault refused to write to "main\/data\/shop\/db"/)
  t.equal(await readBy(await importOf('shop', { files: [own('shop')] })), 'of-shop')
})

t.test('a Vault admin asks what a pod may read, as the pod would', async (t) => {
  const question = blocks.find(({ heading }) => heading === QUESTIONS)
  const said = await shell.run(question?.text ?? 'false')
  t.strictSame(said.split('\n').slice(0, 3), ['read', 'read', 'deny'])
  for (const command of ['bao policy read main-namespaces', 'bao read sys/auth/main-kube']) {
    t.match(await shell.run(command), /auth_kubernetes_/, command)
  }
})

t.test('with an entity by name the metadata is the same', async (t) => {
  await vault.admin.write('auth/main-kube/role/by-name', {
    bound_service_account_names: '*',
    bound_service_account_namespaces: '*',
    alias_name_source: 'serviceaccount_name',
    token_policies: 'main-namespaces',
  })
  const by = { role: 'by-name' }
  t.equal(await readBy(await importOf('office', { ...by, files: [own('office')] })), 'of-office')
  t.match(await node.refusal(await importOf('office', { ...by, files: [own('shop')] })), {
    code: 'PERMISSION_DENIED',
  })
})

t.test('with the jwt method a claim of the token becomes the metadata', async (t) => {
  const jwt = { authMethod: 'jwt', authPath: 'main-kube-jwt' }
  t.equal(await readBy(await importOf('office', { ...jwt, files: [own('office')] })), 'of-office')
  const greedy = await node.refusal(await importOf('office', { ...jwt, files: [own('shop')] }))
  t.match(greedy.details, /path "main\/data\/shop\/db"/)
})

t.test('in a namespace of OpenBao a team has its own mounts, policies and roles', async (t) => {
  const manifest = manifestUnder('Vault namespaces')
  t.equal(await readBy(await apply(manifest)), 'of-the-team')
  const stranger = await node.refusal(await importOf('shop', manifest.spec))
  t.match(stranger.details, /namespace not authorized.*Vault namespace "team-office"/s)
  const outside = await node.refusal(await importOf('office', { ...manifest.spec, namespace: 'team-shop' }))
  t.match(outside.details, /Vault namespace "team-shop"/)
})

t.test('a mount enabled again has another accessor: the policy grants only the shared path', async (t) => {
  const block = blocks.find(({ text }) => text.includes('role/namespaces'))
  const enable = blocks.find(({ text }) => text.startsWith('bao auth enable -path=main-kube '))
  const first = enable?.text.split('bao auth enable -path=secondary-kube')[0] ?? 'false'
  const role = block?.text.slice(block.text.indexOf('bao write auth/main-kube/role')) ?? 'false'
  await shell.run(`bao auth disable main-kube\n${first}${role}`)
  const isolated = await node.refusal(await importOf('shop', { files: [own('shop')] }))
  t.match(isolated.details, /path "main\/data\/shop\/db"/)
  t.equal(await readBy(await importOf('shop', { files: [shared] }), 'registry'), 'registry.example.org')
  await shell.run(block?.text ?? 'false')
  t.equal(await readBy(await importOf('shop', { files: [own('shop')] })), 'of-shop', 'written again')
})
