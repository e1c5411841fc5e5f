import type { Facts, Fault, Retry, StatusName } from './facts.ts'
import { explain } from './message.ts'

const table = {
  invalid_request: { status: 'INVALID_ARGUMENT', retry: 'slow' },
  already_exists: { status: 'ALREADY_EXISTS', retry: 'slow' },
  volume_not_found: { status: 'NOT_FOUND', retry: 'slow' },
  shutting_down: { status: 'UNAVAILABLE', retry: 'soon' },
  deadline: { status: 'DEADLINE_EXCEEDED', retry: 'soon' },
  import_not_found: { status: 'NOT_FOUND', retry: 'slow' },
  import_invalid: { status: 'INVALID_ARGUMENT', retry: 'slow' },
  imports_unavailable: { status: 'UNAVAILABLE', retry: 'soon' },
  reference_missing: { status: 'NOT_FOUND', retry: 'slow' },
  reference_unavailable: { status: 'UNAVAILABLE', retry: 'soon' },
  policy_refused: { status: 'FAILED_PRECONDITION', retry: 'slow' },
  token_missing: { status: 'FAILED_PRECONDITION', retry: 'slow' },
  token_unavailable: { status: 'UNAVAILABLE', retry: 'soon' },
  login_denied: { status: 'PERMISSION_DENIED', retry: 'slow' },
  login_reviewer: { status: 'PERMISSION_DENIED', retry: 'slow' },
  login_audience: { status: 'PERMISSION_DENIED', retry: 'slow' },
  login_mount: { status: 'FAILED_PRECONDITION', retry: 'slow' },
  read_denied: { status: 'PERMISSION_DENIED', retry: 'slow' },
  call_refused: { status: 'FAILED_PRECONDITION', retry: 'slow' },
  path_not_found: { status: 'NOT_FOUND', retry: 'slow' },
  kv2_path: { status: 'INVALID_ARGUMENT', retry: 'slow' },
  version_deleted: { status: 'NOT_FOUND', retry: 'slow' },
  key_missing: { status: 'NOT_FOUND', retry: 'slow' },
  tls: { status: 'FAILED_PRECONDITION', retry: 'soon' },
  unreachable: { status: 'UNAVAILABLE', retry: 'soon' },
  sealed: { status: 'UNAVAILABLE', retry: 'soon' },
  standby: { status: 'UNAVAILABLE', retry: 'soon' },
  rate_limited: { status: 'UNAVAILABLE', retry: 'soon' },
  vault_error: { status: 'UNAVAILABLE', retry: 'soon' },
  decode_failed: { status: 'FAILED_PRECONDITION', retry: 'slow' },
  template_failed: { status: 'FAILED_PRECONDITION', retry: 'slow' },
  key_unusable: { status: 'FAILED_PRECONDITION', retry: 'slow' },
  name_taken: { status: 'FAILED_PRECONDITION', retry: 'slow' },
  credential_refused: { status: 'FAILED_PRECONDITION', retry: 'slow' },
  sync_refused: { status: 'FAILED_PRECONDITION', retry: 'slow' },
  sync_invalid: { status: 'FAILED_PRECONDITION', retry: 'slow' },
  sync_unavailable: { status: 'UNAVAILABLE', retry: 'soon' },
  volume_full: { status: 'FAILED_PRECONDITION', retry: 'slow' },
  budget_exceeded: { status: 'RESOURCE_EXHAUSTED', retry: 'slow' },
  import_too_large: { status: 'FAILED_PRECONDITION', retry: 'slow' },
  volume_io: { status: 'INTERNAL', retry: 'soon' },
  mount_failed: { status: 'INTERNAL', retry: 'soon' },
  internal: { status: 'INTERNAL', retry: 'soon' },
} satisfies Record<Fault, { status: StatusName; retry: Retry }>

/** The only error class. `message` is safe to send and complete for its reader; `cause` is for debugging only. */
export class FaultError extends Error {
  override readonly name = 'FaultError'
  readonly fault: Fault
  readonly facts: Facts

  constructor(fault: Fault, facts: Facts = {}, cause?: unknown) {
    super(explain(fault, facts), cause === undefined ? undefined : { cause })
    this.fault = fault
    this.facts = facts
  }

  get status(): StatusName {
    return table[this.fault].status
  }

  get retry(): Retry {
    return table[this.fault].retry
  }

  /** The same failure with more context; existing facts win. */
  with(facts: Facts): FaultError {
    return new FaultError(this.fault, { ...facts, ...this.facts }, this.cause)
  }
}

/** Vault responded that the secret does not exist, which an import may tolerate. */
export function isAbsence({ fault }: FaultError): boolean {
  return fault === 'path_not_found' || fault === 'version_deleted'
}

/** Converts anything thrown. An unexpected error becomes `internal`, and its text stays out of the message. */
export function toFault(error: unknown): FaultError {
  if (error instanceof FaultError) return error
  return new FaultError('internal', {}, error)
}

/** Characters of a foreign text that are scanned, and that are shown. */
const MAX_SCANNED = 4096
const MAX_SHOWN = 500

/**
 * Removes everything that looks like a Vault token, a JWT or a wrapping token from a foreign text and cuts it to one
 * line. Vault's errors should contain none; this makes sure. Authors of paths, bodies and secrets can influence the text:
 * it is cut before any pattern is applied, and every pattern takes linear time.
 */
export function scrub(text: string): string {
  return cutForeign(text, MAX_SCANNED)
    .replace(JWT, '[token]')
    .replace(VAULT_TOKEN, '[token]')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, MAX_SHOWN)
}

/** The first characters of a foreign text. Removes a token that the cut would make too short to recognize. */
export function cutForeign(text: string, longest: number): string {
  return text.length > longest ? text.slice(0, longest).replace(CUT_TOKEN, '[token]') : text
}

/** The first part suffices: a JWT may be cut in two. */
const JWT = /\beyJ[\w-]+(?:\.[\w-]*){0,2}/g
const VAULT_TOKEN = /\b(?:hv[sbr]|[sbr])\.[A-Za-z0-9_-]{20,}/g
/** The start of a Vault token at the cut, too short for VAULT_TOKEN. */
const CUT_TOKEN = /\b(?:hv[sbr]|[sbr])\.[A-Za-z0-9_-]{0,19}$/

/** Joins the strings of a foreign list, up to the length that scrub scans. */
export function joinMessages(list: unknown, separator: string): string {
  if (!Array.isArray(list)) return ''
  let joined = ''
  for (const entry of list) {
    if (joined.length > MAX_SCANNED) break
    if (typeof entry !== 'string') continue
    joined += `${joined === '' ? '' : separator}${entry.slice(0, MAX_SCANNED + 1)}`
  }
  return joined
}
