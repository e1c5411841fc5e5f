import t from 'tap'
import type { Facts, Fault } from '../../src/core/faults/facts.ts'
import { parseJson } from '../../src/core/json/json.ts'
import {
  connectionFault,
  errorText,
  isKv2Path,
  kv2PathFault,
  readFault,
  retryAfterMs,
} from '../../src/vault/faults.ts'
import { isBareDenial, loginFault } from '../../src/vault/login-faults.ts'
import { type Answer, TransportError } from '../../src/vault/transport.ts'

const facts: Facts = {
  address: 'https://vault.test:8200',
  method: 'kubernetes',
  authMount: 'main-kube',
  role: 'shop_backend',
  podNamespace: 'shop',
  serviceAccount: 'backend',
  audience: 'vault',
}
const now = Date.UTC(2030, 0, 1)

function answer(status: number, body?: object, more: Partial<Answer> = {}): Answer {
  const parsed = body === undefined ? undefined : parseJson(JSON.stringify(body))
  return { status, body: parsed, retryAfter: undefined, location: undefined, ...more }
}

function denied(status: number, words: string): Answer {
  return answer(status, { errors: [words] })
}

// The words of OpenBao 2.7 were heard from it (test/integration); the others are HashiCorp Vault's.
const logins: [status: number, words: string, fault: Fault, says: RegExp][] = [
  [400, 'role "nope" could not be found', 'login_denied', /role does not exist/],
  [400, 'invalid role name "app"', 'login_denied', /role does not exist/],
  [403, 'service account name not authorized', 'login_denied', /service account is not bound/],
  [403, 'namespace not authorized', 'login_denied', /namespace is not bound/],
  [400, 'error validating token: invalid subject (sub) claim', 'login_denied', /not the bound subject/],
  [
    400,
    'error validating claims: claim "x" does not match any associated bound claim values',
    'login_denied',
    /bound_claims/,
  ],
  [
    400,
    'error validating token: invalid expiration time (exp) claim: token is expired',
    'login_denied',
    /expired.*clocks/,
  ],
  [
    400,
    'error validating token: error verifying token signature: no known key successfully validated the token signature',
    'login_denied',
    /does not trust.*jwks_url/,
  ],
  [
    403,
    'invalid audience (aud) claim: audience claim does not match any expected audience',
    'login_audience',
    /wanted .*role "shop_backend".*got "vault"/,
  ],
  [
    500,
    'lookup failed: service account unauthorized; this could mean it has been deleted or recreated with a new token',
    'login_reviewer',
    /system:auth-delegator/,
  ],
  [
    500,
    'tokenreviews.authentication.k8s.io is forbidden: User "x" cannot create resource "tokenreviews"',
    'login_reviewer',
    /system:auth-delegator/,
  ],
  [400, 'missing client token', 'login_mount', /authPath/],
  [
    404,
    'no handler for route "auth/main-kube/login". route entry not found.',
    'login_mount',
    /auth\/main-kube.*authPath/,
  ],
  [404, '1 error occurred:\n\t* unsupported path\n\n', 'login_mount', /authPath/],
  [400, 'could not load configuration', 'login_mount', /not configured/],
  [404, 'namespace not found', 'login_mount', /namespace does not exist.*spec\.namespace/],
  [400, 'something new', 'login_denied', /something new/],
  [500, 'internal error', 'vault_error', /answered 500/],
  [503, 'Vault is sealed', 'sealed', /sealed.*tried again/],
]

for (const [status, words, fault, says] of logins) {
  t.test(`a login answered ${status} "${words.replace(/\s+/g, ' ').slice(0, 50)}" is ${fault}`, (t) => {
    const error = loginFault(denied(status, words), now, facts)
    t.equal(error.fault, fault)
    t.match(error.message, says)
    for (const known of [
      'https://vault.test:8200',
      'main-kube',
      'shop_backend',
      'shop/backend',
      'audience "vault"',
      'next: ',
    ]) {
      t.ok(error.message.includes(known), known)
    }
    t.end()
  })
}

const appRoleLogins: typeof logins = [
  [400, 'invalid role or secret ID', 'login_denied', /used up\).*secret-id`.*spec\.appRole\.secretIdRef/],
  [400, 'invalid secret id', 'login_denied', /used up\)/],
  [400, 'invalid role ID', 'login_denied', /used up\)/],
  [500, 'missing role_id', 'login_denied', /check spec\.appRole\.roleId/],
  [500, 'failed to determine alias name from login request', 'login_denied', /check spec\.appRole\.roleId/],
  [400, 'missing secret_id', 'login_denied', /check the Secret of spec\.appRole\.secretIdRef/],
  [
    400,
    'source address "10.0.0.1" unauthorized through CIDR restrictions on the secret ID',
    'login_denied',
    /secret_id_bound_cidrs/,
  ],
  [400, 'missing role', 'login_mount', /is not of type approle/],
]

for (const [status, words, fault, says] of appRoleLogins) {
  t.test(`an AppRole login answered ${status} "${words.slice(0, 50)}" is ${fault}`, (t) => {
    const error = loginFault(denied(status, words), now, { ...facts, method: 'approle' })
    t.equal(error.fault, fault)
    t.match(error.message, says)
    t.end()
  })
}

t.test('a login with a service-account token at an AppRole mount says what is wrong with the mount', (t) => {
  for (const words of ['missing role_id', 'failed to determine alias name from login request']) {
    const error = loginFault(denied(500, words), now, facts)
    t.equal(error.fault, 'login_mount')
    t.match(error.message, 'auth/main-kube is of type approle')
  }
  t.end()
})

t.test('a denied login names the command that binds role, service account and namespace', (t) => {
  const { message } = loginFault(denied(403, 'namespace not authorized'), now, facts)
  t.match(
    message,
    'bao write auth/main-kube/role/shop_backend bound_service_account_names=backend bound_service_account_namespaces=shop',
  )
  t.end()
})

t.test('a bare "permission denied" is distinguished from every other refusal', (t) => {
  t.ok(isBareDenial(loginFault(denied(403, 'permission denied'), now, facts)))
  t.notOk(isBareDenial(loginFault(denied(403, 'namespace not authorized'), now, facts)))
  t.notOk(isBareDenial(loginFault(denied(400, 'permission denied'), now, facts)))
  t.end()
})

const path = 'team/a/kv/app'

const reads: [status: number, body: object | undefined, fault: Fault, says: RegExp][] = [
  [
    403,
    { errors: ['1 error occurred:\n\t* permission denied\n\n'] },
    'read_denied',
    /path "team\/a\/kv\/app" \{ capabilities = \["read"\] \}/,
  ],
  [404, { errors: [] }, 'path_not_found', /nothing is stored at "team\/a\/kv\/app"/],
  [404, undefined, 'path_not_found', /nothing is stored/],
  [404, { errors: ['no handler for route "team/a"'] }, 'path_not_found', /no handler for route/],
  [
    405,
    { errors: ['1 error occurred:\n\t* unsupported operation\n\n'] },
    'path_not_found',
    /unsupported operation/,
  ],
  [
    404,
    {
      data: { data: null, metadata: { version: 3, destroyed: false, deletion_time: '2029-12-31T00:00:00Z' } },
    },
    'version_deleted',
    /version 3 .*deleted at 2029-12-31T00:00:00Z/,
  ],
  [
    404,
    { data: { data: null, metadata: { version: 3, destroyed: true, deletion_time: '' } } },
    'version_deleted',
    /version 3 .*destroyed/,
  ],
  [472, undefined, 'standby', /standby/],
  [473, undefined, 'standby', /standby/],
  [429, { errors: ['rate limit quota exceeded'] }, 'rate_limited', /429.*rate limit quota exceeded.*1 s/],
  [429, { errors: ['this is a standby node'] }, 'standby', /standby/],
  [503, { errors: ['Vault is sealed'] }, 'sealed', /sealed/],
  [500, { errors: ['disk on fire'] }, 'vault_error', /500.*disk on fire/],
  [502, undefined, 'vault_error', /502/],
]

for (const [status, body, fault, says] of reads) {
  t.test(`a read answered ${status} ${JSON.stringify(body)?.slice(0, 60)} is ${fault}`, (t) => {
    const error = readFault(answer(status, body), path, now, facts)
    t.equal(error.fault, fault)
    t.match(error.message, says)
    t.match(error.message, /tried: address https:\/\/vault\.test:8200.*path "team\/a\/kv\/app"; next: /)
    t.end()
  })
}

t.test('a KV v2 path without data/ is corrected behind the mount', (t) => {
  const warning = {
    warnings: ['Invalid path for a versioned K/V secrets engine. See the API docs.'],
    data: null,
  }
  t.ok(isKv2Path(answer(404, warning)))
  t.notOk(isKv2Path(answer(404, { errors: [] })))
  t.match(kv2PathFault('secret/app/db', undefined, facts).message, 'use path "secret/data/app/db"')
  t.match(kv2PathFault(path, 'team/a/kv', facts).message, 'use path "team/a/kv/data/app"')
  t.match(kv2PathFault('secret', 'secret', facts).message, 'use path "secret/data/<name>"')
  t.end()
})

t.test('a redirect is a standby that names where it points, without path and query', (t) => {
  const error = readFault(
    answer(307, undefined, { location: 'https://other.test/v1/x?token=canary' }),
    path,
    now,
    facts,
  )
  t.equal(error.fault, 'standby')
  t.equal(error.facts.reason, 'it redirects to https://other.test')
  t.end()
})

t.test('Retry-After counts in seconds and as a date, within bounds', (t) => {
  const after = (status: number, retryAfter?: string) => retryAfterMs(answer(status, {}, { retryAfter }), now)
  t.equal(after(429, '7'), 7_000)
  t.equal(after(503, new Date(now + 9_000).toUTCString()), 9_000)
  t.equal(after(429, new Date(now - 9_000).toUTCString()), 0)
  t.equal(after(429, '86400'), 300_000)
  t.equal(after(429, 'soon'), 1_000)
  t.equal(after(429), 1_000)
  t.equal(after(503), undefined)
  t.end()
})

const below: [code: string, fault: Fault, says: RegExp][] = [
  ['ECONNREFUSED', 'unreachable', /connection refused.*keep their last good files/],
  ['ENOTFOUND', 'unreachable', /DNS: no such host/],
  ['EAI_AGAIN', 'unreachable', /DNS/],
  ['ETIMEDOUT', 'unreachable', /timed out/],
  ['ECONNRESET', 'unreachable', /reset/],
  ['HPE_INVALID_CONSTANT', 'unreachable', /HPE/],
  [
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    'tls',
    /unknown authority.*checked against the system CAs.*--vault-ca-cert/,
  ],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'tls', /unknown authority/],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'tls', /unknown authority/],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'tls', /unknown authority/],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls', /another name.*tlsServerName/],
  ['CERT_HAS_EXPIRED', 'tls', /expired/],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'tls', /does not speak TLS.*http:\/\//],
  ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'tls', /ERR_SSL_TLSV1/],
]

for (const [code, fault, says] of below) {
  t.test(`a connection that fails with ${code} is ${fault}`, (t) => {
    const cause = Object.assign(new Error('canary'), { code, rawPacket: Buffer.from('canary') })
    const error = connectionFault(cause, { ...facts, caSource: 'the system CAs' })
    t.equal(error.fault, fault)
    t.match(error.message, says)
    t.match(error.message, /https:\/\/vault\.test:8200/)
    t.equal(error.cause, undefined, 'the bytes of a broken answer go no further')
    t.end()
  })
}

t.test('a handshake that fails as EPROTO is reported by its reason', (t) => {
  const say = (message: string) =>
    connectionFault(Object.assign(new Error(message), { code: 'EPROTO' }), facts)
  const wrongVersion =
    'write EPROTO 40BD:error:0A00010B:SSL routines:tls_validate:wrong version number:../x.c:77:'
  t.match(say(wrongVersion), { fault: 'tls', message: /does not speak TLS/ })
  t.match(say('write EPROTO 1:error:1:SSL routines:f:tlsv1 alert internal error:../x.c:7:'), {
    fault: 'tls',
    message: /ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR/,
  })
  t.match(say('write EPROTO'), { fault: 'tls', message: /ERR_SSL_HANDSHAKE_FAILED/ })
  t.end()
})

t.test('a plain connection that is reset asks whether the server speaks https', (t) => {
  const reset = Object.assign(new Error('x'), { code: 'ECONNRESET' })
  t.match(
    connectionFault(reset, { address: 'http://vault.test:8200' }).message,
    /does the server speak https\?/,
  )
  t.end()
})

t.test('a host of several addresses fails for the reason of the first', (t) => {
  const refused = Object.assign(new Error('x'), { code: 'ECONNREFUSED' })
  t.match(connectionFault(new AggregateError([refused, refused]), facts).message, /connection refused/)
  t.end()
})

t.test('failures of the transport are reported in plain English', (t) => {
  const say = (failure: TransportError['failure']) => connectionFault(new TransportError(failure), facts)
  t.match(say('timeout'), { fault: 'unreachable', message: /no answer in time/ })
  t.match(say('cut-off'), { fault: 'unreachable', message: /broke/ })
  t.match(say('not-json'), { fault: 'vault_error', message: /not JSON/ })
  t.match(say('too-large'), { fault: 'vault_error', message: /4 MiB/ })
  t.match(say('https-expected'), { fault: 'tls', message: /https:\/\// })
  t.end()
})

t.test("Vault's words come on one line and without tokens", (t) => {
  const token = `s.${'a'.repeat(24)}`
  t.equal(
    errorText(answer(400, { errors: [`1 error occurred:\n\t* bad token ${token}\n\n`, 7] })),
    'bad token [token]',
  )
  t.equal(errorText(answer(400, { errors: 'no list' })), '')
  t.end()
})
