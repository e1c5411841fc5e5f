import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { failureOf, publishArgs, servePlugin } from '../harness/kubelet/grpc.ts'
import { publishRequest } from '../harness/kubelet/kubelet.ts'

const { volumeId, targetPath } = publishArgs
const token = { token: 'canary-token', expirationTimestamp: '2030-01-01T00:00:00Z' }

t.test('a publish reaches the node with all attributes of the pod', async (t) => {
  const { kubelet, node } = await servePlugin(t)
  for (const tokensInSecrets of [false, true]) {
    await kubelet.nodePublish({ ...publishArgs, fsGroup: 2000, tokens: { vault: token }, tokensInSecrets })
    const request = node.published.pop()
    t.match(request, {
      volumeId,
      targetPath,
      readOnly: true,
      fsGroup: 2000,
      pod: publishArgs.pod,
      importName: 'backend',
    })
    t.equal(request?.tokens.get('vault')?.token.reveal(), 'canary-token')
  }
})

t.test('kubelet may switch to tokens in secrets while a pod lives', async (t) => {
  const { kubelet, node } = await servePlugin(t)
  await kubelet.nodePublish({ ...publishArgs, tokens: { vault: token } })
  await kubelet.nodePublish({ ...publishArgs, tokens: { vault: token }, tokensInSecrets: true })
  const [before, after] = node.published
  t.equal(before?.fingerprint, after?.fingerprint)
})

t.test('a publish that lacks an argument is refused before the node sees it', async (t) => {
  const { kubelet, node } = await servePlugin(t)
  const full = publishRequest(publishArgs) as Record<string, unknown>
  for (const [change, words] of [
    [{ volume_id: '', target_path: '' }, 'volume_id is missing'],
    [{ target_path: '' }, 'target_path is missing'],
    [{ target_path: 'relative/path' }, 'not absolute'],
    [{ volume_capability: null }, 'volume_capability is missing'],
    [{ volume_capability: { mount: {} } }, 'access_mode is missing'],
    [{ volume_capability: { access_mode: { mode: 1 } } }, 'mount is missing'],
    [{ volume_capability: { block: {}, access_mode: { mode: 1 } } }, 'block volumes'],
    [{ volume_context: {} }, 'secretsStoreImport is missing'],
  ] as const) {
    const failure = await failureOf(kubelet.raw('NodePublishVolume', { ...full, ...change }))
    t.equal(failure.code, 'INVALID_ARGUMENT')
    t.match(failure.details, words)
  }
  t.strictSame(node.published, [])
})

t.test('unusable tokens fail a first publish, and a published volume keeps its earlier tokens', async (t) => {
  const { kubelet, node, log } = await servePlugin(t)
  const full = publishRequest(publishArgs) as { volume_context: object }
  const withTokens = (text: string) => ({
    ...full,
    volume_context: { ...full.volume_context, 'csi.storage.k8s.io/serviceAccount.tokens': text },
  })
  for (const text of ['canary-token', '{"vault":{"token":"canary-token","expirationTimestamp":"soon"}}']) {
    const failure = await failureOf(kubelet.raw('NodePublishVolume', withTokens(text)))
    t.equal(failure.code, 'INVALID_ARGUMENT')
    t.match(failure.details, /serviceAccount\.tokens/)
  }
  t.strictSame(node.published, [])
  await kubelet.nodePublish({ ...publishArgs, tokens: { vault: token } })
  await kubelet.raw('NodePublishVolume', withTokens('canary-token'))
  t.equal(node.published.length, 1, 'the node hears nothing of it')
  t.match(log.lines.at(-1), { level: 'warn', message: /unusable tokens/ })
  t.notMatch(log.text, 'canary')
  const elsewhere = { ...withTokens('canary-token'), volume_id: 'csi-2' }
  t.equal((await failureOf(kubelet.raw('NodePublishVolume', elsewhere))).code, 'INVALID_ARGUMENT')
})

t.test('an unpublish names the volume and its absolute path', async (t) => {
  const { kubelet, node } = await servePlugin(t)
  await kubelet.nodeUnpublish({ volumeId, targetPath })
  t.strictSame(node.unpublished, [{ volumeId, targetPath }])
  for (const [args, words] of [
    [{ volumeId: '', targetPath: '' }, 'volume_id is missing'],
    [{ volumeId, targetPath: '' }, 'target_path is missing'],
    [{ volumeId, targetPath: 'some/path' }, 'not absolute'],
    [{ volumeId, targetPath: '/' }, 'root directory'],
  ] as const) {
    const failure = await failureOf(kubelet.nodeUnpublish(args))
    t.equal(failure.code, 'INVALID_ARGUMENT')
    t.match(failure.details, words)
  }
  t.equal(node.unpublished.length, 1)
})

t.test('stats come in bytes and inodes, also above 2^32', async (t) => {
  const { kubelet } = await servePlugin(t)
  await kubelet.nodePublish(publishArgs)
  t.strictSame(
    (await kubelet.stats({ volumeId, volumePath: targetPath })).map(({ unit, total, used }) => [
      unit,
      total,
      used,
    ]),
    [
      ['BYTES', 2 ** 42, 4096],
      ['INODES', 64, 4],
    ],
  )
})

t.test('stats of a missing volume or a relative path are not found', async (t) => {
  const { kubelet } = await servePlugin(t)
  t.match((await failureOf(kubelet.stats({ volumeId: '', volumePath: 'x' }))).details, 'volume_id is missing')
  t.equal((await failureOf(kubelet.stats({ volumeId, volumePath: '' }))).code, 'INVALID_ARGUMENT')
  for (const volumePath of ['/nowhere', 'some/path']) {
    t.equal((await failureOf(kubelet.stats({ volumeId, volumePath }))).code, 'NOT_FOUND')
  }
})

t.test('the node reports its id and two capabilities', async (t) => {
  const { kubelet } = await servePlugin(t)
  t.match(await kubelet.getInfo(), { node_id: 'node-7', max_volumes_per_node: 0 })
  t.strictSame(await kubelet.capabilities(), ['VOLUME_MOUNT_GROUP', 'GET_VOLUME_STATS'])
})

t.test('a fault of the node keeps its code and its message', async (t) => {
  const { kubelet, node } = await servePlugin(t)
  node.onPublish = async () => {
    throw new FaultError('read_denied', { path: 'secret/data/app', role: 'backend' })
  }
  const failure = await failureOf(kubelet.nodePublish(publishArgs))
  t.equal(failure.code, 'PERMISSION_DENIED')
  t.match(failure.details, 'grant it in a policy of role "backend"')
})

t.test('many publishes at once are all answered', async (t) => {
  const { kubelet, node } = await servePlugin(t, { kubelet: { keepConnection: true } })
  node.onPublish = () => new Promise((resolve) => setImmediate(resolve))
  const ids = Array.from({ length: 200 }, (_, index) => `csi-${index}`)
  await Promise.all(
    ids.map((id) => kubelet.nodePublish({ ...publishArgs, volumeId: id, targetPath: `/pods/${id}` })),
  )
  t.equal(node.mounted.size, 200)
})
