import type { Facts } from '../core/faults/facts.ts'
import { FaultError, joinMessages, scrub } from '../core/faults/fault.ts'
import { isJsonObject, jsonToNumber } from '../core/json/json.ts'
import { type Answer, TransportError, type TransportFailure } from './transport.ts'

/** The pause after a 429 that names none, in milliseconds: OpenBao's quotas do not by default. */
const DEFAULT_PAUSE_MS = 1_000
/** A Retry-After beyond this is taken as this: a slip in a header must not silence a node for a day. */
const LONGEST_PAUSE_MS = 5 * 60_000

/** Vault's text for an error, safe to show; '' when it gave none. */
export function errorText(answer: Answer): string {
  if (!isJsonObject(answer.body)) return ''
  const text = scrub(joinMessages(answer.body.errors, '; '))
  // Go's error lists come as "1 error occurred:\n\t* permission denied\n\n", of which scrub has made one line.
  return text.replace(/ ?\b\d{1,6} errors? occurred: ?\* ?/g, ' ').trim()
}

/** Facts of the answer itself. */
export function answerFacts(answer: Answer): Facts {
  const text = errorText(answer)
  return { httpStatus: answer.status, ...(text === '' ? {} : { serverMessage: text }) }
}

/** The pause that Vault asks for, in milliseconds; undefined for none. */
export function retryAfterMs(answer: Answer, now: number): number | undefined {
  const given = answer.retryAfter
  if (given === undefined) return answer.status === 429 ? DEFAULT_PAUSE_MS : undefined
  const wait = /^\d+$/.test(given) ? Number(given) * 1000 : Date.parse(given) - now
  if (Number.isNaN(wait)) return DEFAULT_PAUSE_MS
  return Math.min(Math.max(wait, 0), LONGEST_PAUSE_MS)
}

/** Faults of the server's state, the same for logins and reads. Undefined for other responses. */
export function serverFault(answer: Answer, now: number, facts: Facts): FaultError | undefined {
  const pause = retryAfterMs(answer, now)
  const known = {
    ...facts,
    ...answerFacts(answer),
    ...(pause === undefined ? {} : { retryAfterMs: pause }),
  }
  if (answer.status === 503) return new FaultError('sealed', known)
  if (answer.status === 429)
    return new FaultError(/standby/i.test(known.serverMessage ?? '') ? 'standby' : 'rate_limited', known)
  if (answer.status === 472 || answer.status === 473) return new FaultError('standby', known)
  if (answer.status >= 300 && answer.status < 400) {
    return new FaultError('standby', { ...known, ...redirectReason(answer) })
  }
  return undefined
}

function redirectReason(answer: Answer): Facts {
  const target = answer.location === undefined ? undefined : URL.parse(answer.location)
  return { reason: target ? `it redirects to ${target.origin.slice(0, 300)}` : 'it redirects' }
}

/** Why Vault did not give what stands at `path`; a path of a KV v2 engine without data/ is found by isKv2Path. */
export function readFault(answer: Answer, path: string, now: number, facts: Facts): FaultError {
  const known = { ...facts, path, ...answerFacts(answer) }
  if (answer.status === 403) return new FaultError('read_denied', known)
  if (answer.status === 400) return new FaultError('call_refused', known)
  if (answer.status === 404) return deletedFault(answer, known) ?? new FaultError('path_not_found', known)
  // "unsupported operation": there is something at the path, but nothing that GET brings.
  if (answer.status === 405) return new FaultError('path_not_found', known)
  const server = serverFault(answer, now, { ...facts, path })
  return server ?? new FaultError('vault_error', known)
}

/** Why Vault did not do what was asked of it. */
export function callFault(
  answer: Answer,
  { method, path }: { method: 'GET' | 'POST' | 'PUT'; path: string },
  now: number,
  facts: Facts,
): FaultError {
  const known = { ...facts, path, ...answerFacts(answer) }
  if (method === 'GET') return readFault(answer, path, now, facts)
  if (answer.status === 403) return new FaultError('read_denied', { ...known, capability: 'update' })
  if (answer.status === 405) return new FaultError('call_refused', known)
  return readFault(answer, path, now, facts)
}

/** Whether Vault warns that the path belongs to a KV v2 engine but leaves out data/. */
export function isKv2Path(answer: Answer): boolean {
  if (answer.status !== 404 || !isJsonObject(answer.body)) return false
  const { warnings } = answer.body
  return Array.isArray(warnings) && warnings.some((text) => typeof text === 'string' && VERSIONED.test(text))
}

const VERSIONED = /invalid path for a versioned k\/v secrets engine/i

/** Facts of a fault that Vault explains by warnings. */
export function warningFacts(answer: Answer): Facts {
  const warnings = isJsonObject(answer.body) ? answer.body.warnings : undefined
  const serverMessage = scrub(joinMessages(warnings, ' '))
  return { httpStatus: answer.status, serverMessage }
}

/** @param mount where the engine is mounted; undefined: take the first segment, the usual case */
export function kv2PathFault(path: string, mount: string | undefined, facts: Facts): FaultError {
  const root = mount ?? path.split('/', 1)[0] ?? ''
  const rest = path.slice(root.length).replace(/^\/+/, '')
  return new FaultError('kv2_path', {
    ...facts,
    path,
    wanted: `${root}/data/${rest === '' ? '<name>' : rest}`,
  })
}

/** KV v2 answers 404 with the metadata of a version that was deleted or destroyed. */
function deletedFault(answer: Answer, facts: Facts): FaultError | undefined {
  const data = isJsonObject(answer.body) ? answer.body.data : undefined
  if (!isJsonObject(data) || !isJsonObject(data.metadata)) return undefined
  const { version, destroyed, deletion_time: deletedAt } = data.metadata
  const number = jsonToNumber(version)
  return new FaultError('version_deleted', {
    ...facts,
    ...(number === undefined ? {} : { version: number }),
    reason: destroyed === true ? 'destroyed' : 'deleted',
    ...(typeof deletedAt === 'string' && deletedAt !== ''
      ? { deletedAt: scrub(deletedAt).slice(0, 64) }
      : {}),
  })
}

/** A failure below HTTP: TLS, the socket, or an answer that is none. */
export function connectionFault(error: unknown, facts: Facts): FaultError {
  if (error instanceof FaultError) return error
  if (error instanceof TransportError) return transportFault(error.failure, facts)
  const code = codeOf(error)
  const tlsReason = tlsReasons.get(code) ?? (isOtherTls(code) ? code : undefined)
  if (tlsReason !== undefined)
    return new FaultError('tls', { ...facts, reason: tlsReason, ...tlsSetting(code) })
  const reason =
    resetReason(code, facts) ?? socketReasons.get(code) ?? (code === '' ? 'connection failed' : code)
  // Not the error itself as the cause: an HTTP parser's holds the bytes that came.
  return new FaultError('unreachable', { ...withoutCa(facts), reason })
}

/** Go's server answers http on its https port in plain text, but a longer request often meets a reset instead. */
function resetReason(code: string, { address }: Facts): string | undefined {
  const isReset = code === 'ECONNRESET' || code === 'EPIPE'
  return isReset && address?.startsWith('http:')
    ? 'connection reset; does the server speak https?'
    : undefined
}

function transportFault(failure: TransportFailure, facts: Facts): FaultError {
  const known = withoutCa(facts)
  if (failure === 'timeout') return new FaultError('unreachable', { ...known, reason: 'no answer in time' })
  if (failure === 'cut-off') {
    return new FaultError('unreachable', {
      ...known,
      reason: 'the connection broke in the middle of the answer',
    })
  }
  if (failure === 'https-expected') {
    return new FaultError('tls', { ...known, reason: 'the server speaks https', setting: HTTPS_SETTING })
  }
  const reason = failure === 'too-large' ? 'more than 4 MiB' : 'something that is not JSON: is it a Vault?'
  return new FaultError('vault_error', { ...known, reason })
}

/** The authority used matters to TLS faults only. */
function withoutCa(facts: Facts): Facts {
  const { caSource: _unused, ...rest } = facts
  return rest
}

const HTTPS_SETTING = 'spec.address (or --vault-addr) to https://'
const HTTP_SETTING = 'spec.address (or --vault-addr) to http://, for no TLS is spoken there'
const NAME_SETTING = 'spec.address to a name in the certificate, or spec.tlsServerName to the name it has'
const RENEW_SETTING = 'a new certificate on the Vault server'

function tlsSetting(code: string): Facts {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return { setting: NAME_SETTING }
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') return { setting: RENEW_SETTING }
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG') {
    return { setting: HTTP_SETTING }
  }
  return {}
}

const unknownAuthority = 'x509: certificate signed by an unknown authority'

const tlsReasons: ReadonlyMap<string, string> = new Map([
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', unknownAuthority],
  ['UNABLE_TO_GET_ISSUER_CERT', unknownAuthority],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', unknownAuthority],
  ['SELF_SIGNED_CERT_IN_CHAIN', unknownAuthority],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', unknownAuthority],
  ['CERT_SIGNATURE_FAILURE', unknownAuthority],
  ['CERT_UNTRUSTED', unknownAuthority],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'x509: the certificate is for another name'],
  ['CERT_HAS_EXPIRED', 'x509: the certificate has expired'],
  ['CERT_NOT_YET_VALID', 'x509: the certificate is not valid yet'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'the server does not speak TLS'],
  ['ERR_SSL_PACKET_LENGTH_TOO_LONG', 'the server does not speak TLS'],
])

const socketReasons: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'connection refused'],
  ['ECONNRESET', 'connection reset'],
  ['EPIPE', 'connection reset'],
  ['ENOTFOUND', 'DNS: no such host'],
  ['EAI_AGAIN', 'DNS: the name server does not answer'],
  ['ETIMEDOUT', 'connection timed out'],
  ['EHOSTUNREACH', 'no route to host'],
  ['ENETUNREACH', 'network unreachable'],
])

/** OpenSSL's and Node's names for what else can go wrong with certificates and handshakes. */
function isOtherTls(code: string): boolean {
  return /^(ERR_SSL_|ERR_TLS_|ERR_OSSL_|CERT_|UNABLE_TO_|CRL_|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH)/.test(
    code,
  )
}

/** The system's name for the error; for a host of several addresses, that of the first one tried. */
function codeOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0])
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  if (code === 'EPROTO' && typeof message === 'string') return handshakeCode(message)
  return typeof code === 'string' ? code : ''
}

/** EPROTO is any failed handshake; OpenSSL's reason stands in the message, as in "SSL routines::wrong version number:". */
function handshakeCode(message: string): string {
  const reason = /SSL routines:[^:]*:([^:]+)/.exec(message)?.[1] ?? 'handshake failed'
  return `ERR_SSL_${reason.trim().slice(0, 64).toUpperCase().replace(/\W+/g, '_')}`
}
