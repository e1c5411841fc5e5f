import { inspect } from 'node:util'
import t from 'tap'
import { FaultError } from '../../../src/core/faults/fault.ts'
import type { PublishRequest } from '../../../src/core/ports/node.ts'
import {
  parsePublishRequest as parse,
  type RawPublishRequest,
} from '../../../src/core/publish-request/publish-request.ts'

const KUBELET = 'csi.storage.k8s.io'
const TOKENS = `${KUBELET}/serviceAccount.tokens`
const CANARY = 'eyJhbGciOiJub25lIn0.canary-token.x'

const context: Record<string, string> = {
  secretsStoreImport: 'python-backend',
  [`${KUBELET}/pod.name`]: 'web-0',
  [`${KUBELET}/pod.namespace`]: 'shop',
  [`${KUBELET}/pod.uid`]: 'uid-1',
  [`${KUBELET}/serviceAccount.name`]: 'web',
  [`${KUBELET}/ephemeral`]: 'true',
}

const good: RawPublishRequest = {
  volume_id: 'csi-1',
  target_path: '/pods/uid-1/mount',
  volume_capability: { mount: { fs_type: '', mount_flags: [] }, access_mode: { mode: 'SINGLE_NODE_WRITER' } },
  readonly: true,
  secrets: {},
  volume_context: context,
}

function withContext(change: Record<string, string | undefined>): RawPublishRequest {
  const entries = Object.entries({ ...context, ...change }).filter((entry) => entry[1] !== undefined)
  return { ...good, volume_context: Object.fromEntries(entries) as Record<string, string> }
}

function withMount(mount: object, mode: string | number = 'SINGLE_NODE_WRITER'): RawPublishRequest {
  return { ...good, volume_capability: { mount, access_mode: { mode } } }
}

/** A valid request. */
function parsePublishRequest(raw: RawPublishRequest): PublishRequest {
  const { request, tokenFault } = parse(raw)
  if (tokenFault !== undefined) throw tokenFault
  return request
}

/** Message of the refusal, which must be invalid_request. */
function refusal(raw: RawPublishRequest): string {
  try {
    parsePublishRequest(raw)
  } catch (error) {
    if (error instanceof FaultError && error.fault === 'invalid_request') return error.message
    throw error
  }
  throw new Error('not refused')
}

function token(audience: string, text = CANARY, expirationTimestamp = '2030-01-01T00:00:00Z'): string {
  return JSON.stringify({ [audience]: { token: text, expirationTimestamp } })
}

t.test('a full request is parsed', async (t) => {
  const { fingerprint, tokens, ...request } = parsePublishRequest(withContext({ [TOKENS]: token('vault') }))
  t.strictSame(request, {
    volumeId: 'csi-1',
    targetPath: '/pods/uid-1/mount',
    readOnly: true,
    fsGroup: undefined,
    pod: { name: 'web-0', namespace: 'shop', uid: 'uid-1', serviceAccount: 'web' },
    importName: 'python-backend',
  })
  t.equal(tokens.get('vault')?.token.reveal(), CANARY)
  t.equal(tokens.get('vault')?.expiresAt, Date.UTC(2030, 0, 1))
  t.notMatch(fingerprint, 'canary')
})

t.test(
  'the volume ID is checked first, then the target path, the capability and the attributes',
  async (t) => {
    t.equal(refusal({}), 'volume_id is missing')
    t.equal(refusal({ volume_id: 'v' }), 'target_path is missing')
    t.equal(refusal({ volume_id: 'v', target_path: '/t' }), 'volume_capability is missing')
    t.equal(refusal({ ...good, volume_capability: null }), 'volume_capability is missing')
    t.match(refusal({ ...good, volume_context: {} }), 'secretsStoreImport is missing')
  },
)

t.test('a target path that is not absolute and plain is refused', async (t) => {
  for (const path of ['pods/1', './pods', 'C:\\pods'])
    t.match(refusal({ ...good, target_path: path }), 'not absolute')
  for (const path of ['/pods/../etc', '/pods/./1', '/pods/..', '/a\0b']) {
    t.match(refusal({ ...good, target_path: path }), '"." or ".." segments or NUL')
  }
  for (const path of ['/', '//']) t.match(refusal({ ...good, target_path: path }), 'root directory')
  t.equal(parsePublishRequest({ ...good, target_path: '/pods/..data/x' }).targetPath, '/pods/..data/x')
})

t.test('a capability needs an access mode and a mount', async (t) => {
  const mount = {}
  t.match(refusal({ ...good, volume_capability: { mount } }), 'access_mode is missing')
  t.match(refusal({ ...good, volume_capability: { mount, access_mode: null } }), 'access_mode is missing')
  t.match(refusal(withMount({}, 'UNKNOWN')), 'access_mode is missing')
  t.match(refusal(withMount({}, 0)), 'access_mode is missing')
  t.match(refusal({ ...good, volume_capability: { access_mode: { mode: 1 } } }), 'mount is missing')
  const block = { block: {}, access_mode: { mode: 'SINGLE_NODE_WRITER' } }
  t.match(refusal({ ...good, volume_capability: block }), 'block volumes are not served')
})

t.test('the fsGroup is a decimal group id', async (t) => {
  const group = (text: string) => parsePublishRequest(withMount({ volume_mount_group: text })).fsGroup
  t.equal(group('2000'), 2000)
  t.equal(group('0'), 0)
  t.equal(group('4294967294'), 4294967294)
  t.equal(group(''), undefined)
  for (const text of ['-1', '4294967295', '99999999999', '0x10', '1.5', ' 1', 'staff']) {
    t.match(refusal(withMount({ volume_mount_group: text })), 'is not a group id', text)
  }
})

t.test('an unknown attribute is refused with the known one', async (t) => {
  const message = refusal(withContext({ secretStoreImport: 'x', colour: 'y' }))
  t.match(message, 'unknown volumeAttributes "secretStoreImport", "colour"')
  t.match(message, 'known is only secretsStoreImport')
  t.ok(parsePublishRequest(withContext({ [`${KUBELET}/something.new`]: 'kubelet may add some' })))
})

t.test('an import of another namespace is refused', async (t) => {
  const message = refusal(withContext({ secretsStoreImport: 'other/backend' }))
  t.match(message, '"other/backend" names another namespace')
  t.match(message, "the pod's own (shop) only")
})

t.test('the import name must be a valid object name', async (t) => {
  for (const name of [
    'Backend',
    'a_b',
    '-a',
    'a-',
    'a..b',
    '.',
    'a'.repeat(254),
    `${'a'.repeat(64)}.b`,
    'a\nb',
    'ключ',
  ]) {
    t.match(refusal(withContext({ secretsStoreImport: name })), "cannot be an object's name", name)
  }
  for (const name of ['a', '0', 'a-b.c-1', `${'a'.repeat(63)}.b`]) {
    t.equal(parsePublishRequest(withContext({ secretsStoreImport: name })).importName, name)
  }
  t.match(refusal(withContext({ secretsStoreImport: '' })), 'secretsStoreImport is missing')
})

t.test('without pod info the CSIDriver field is named', async (t) => {
  const message = refusal(withContext({ [`${KUBELET}/pod.uid`]: undefined, [`${KUBELET}/pod.name`]: '' }))
  t.match(message, `no ${KUBELET}/pod.name, ${KUBELET}/pod.uid)`)
  t.match(message, 'podInfoOnMount: true on the CSIDriver')
})

t.test('persistent volumes are refused', async (t) => {
  t.match(refusal(withContext({ [`${KUBELET}/ephemeral`]: 'false' })), 'persistent volumes are not served')
  t.ok(parsePublishRequest(withContext({ [`${KUBELET}/ephemeral`]: undefined })))
})

t.test('all faults of the attributes are reported at once', async (t) => {
  const message = refusal({
    ...good,
    volume_context: { colour: 'x', [`${KUBELET}/ephemeral`]: 'no', [TOKENS]: '[]' },
  })
  for (const part of [
    '"colour"',
    'secretsStoreImport is missing',
    'podInfoOnMount',
    'persistent',
    'not a JSON object',
  ]) {
    t.match(message, part)
  }
})

t.test('tokens in secrets win over tokens in the attributes', async (t) => {
  const raw = withContext({ [TOKENS]: token('vault', 'from-attributes') })
  const both = parsePublishRequest({ ...raw, secrets: { [TOKENS]: token('vault', 'from-secrets') } })
  t.equal(both.tokens.get('vault')?.token.reveal(), 'from-secrets')
  const empty = parsePublishRequest({ ...raw, secrets: { [TOKENS]: '' } })
  t.equal(empty.tokens.get('vault')?.token.reveal(), 'from-attributes')
  t.equal(parsePublishRequest(good).tokens.size, 0)
})

t.test('a fault in the tokens names the audience and never quotes a token', async (t) => {
  for (const [text, words] of [
    [CANARY, 'is not a JSON object'],
    [`{"vault":{"token":"${CANARY}"`, 'is not a JSON object'],
    [`["${CANARY}"]`, 'is not a JSON object'],
    [`{"vault":"${CANARY}"}`, 'audience "vault" has no text in field token'],
    [`{"vault":{"token":"","x":"${CANARY}"}}`, 'audience "vault" has no text in field token'],
    [`{"vault":{"token":"${CANARY}"}}`, 'audience "vault" has no time in field expirationTimestamp'],
    [token('vault', CANARY, 'soon'), 'audience "vault" has no time in field expirationTimestamp'],
  ] as const) {
    const message = refusal(withContext({ [TOKENS]: text }))
    t.match(message, words)
    t.notMatch(message, 'canary')
  }
})

t.test('invalid tokens are reported beside the request', async (t) => {
  const texts = [CANARY, JSON.stringify({ ...JSON.parse(token('good')), bad: {} })]
  for (const text of texts) {
    const { request, tokenFault } = parse(withContext({ [TOKENS]: text }))
    t.equal(request.fingerprint, parsePublishRequest(good).fingerprint)
    t.equal(tokenFault?.fault, 'invalid_request')
  }
  t.throws(() => parse(withContext({ [TOKENS]: CANARY, unknown: 'x' })), {
    message: /unknown volumeAttributes "unknown".*is not a JSON object/,
  })
})

t.test('a parsed request shows no token when it is printed', async (t) => {
  const request = parsePublishRequest({ ...good, secrets: { [TOKENS]: token('vault') } })
  t.notMatch(inspect(request, { depth: 9 }) + JSON.stringify([...request.tokens]), 'canary')
})

t.test(
  'a repeated publish has the same fingerprint, regardless of tokens and the order of attributes',
  async (t) => {
    const first = parsePublishRequest(withContext({ [TOKENS]: token('vault') })).fingerprint
    const reversed = Object.fromEntries(Object.entries(context).reverse())
    const again = { ...good, volume_context: reversed, secrets: { [TOKENS]: token('vault', 'fresh') } }
    t.equal(parsePublishRequest(again).fingerprint, first)
  },
)

t.test('a key that a newer kubelet adds does not change the fingerprint', async (t) => {
  const first = parsePublishRequest(good).fingerprint
  const newer = parsePublishRequest(withContext({ [`${KUBELET}/pod.something-new`]: 'x' }))
  t.equal(newer.fingerprint, first)
})

t.test('another argument gives another fingerprint', async (t) => {
  const first = parsePublishRequest(good).fingerprint
  for (const other of [
    { ...good, volume_id: 'csi-2' },
    { ...good, readonly: false },
    withMount({ volume_mount_group: '1' }),
    withMount({ fs_type: 'ext4' }),
    withMount({ mount_flags: ['ro'] }),
    withMount({}, 'MULTI_NODE_READER_ONLY'),
    withContext({ secretsStoreImport: 'other' }),
    withContext({ [`${KUBELET}/pod.uid`]: 'uid-2' }),
  ]) {
    t.not(parsePublishRequest(other).fingerprint, first)
  }
})
