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

/** The one error class. `message` is safe for the wire and complete for its reader; `cause` is for debugging only. */
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

  /** The same failure with more known about it; facts already there win. */
  with(facts: Facts): FaultError {
    return new FaultError(this.fault, { ...facts, ...this.facts }, this.cause)
  }
}

/** Vault answered, and there is nothing: an answer like any other for imports that tolerate it. */
export function isAbsence({ fault }: FaultError): boolean {
  return fault === 'path_not_found' || fault === 'version_deleted'
}

/** Anything thrown, as a FaultError: an unforeseen one becomes `internal` and keeps its text out of the message. */
export function toFault(error: unknown): FaultError {
  if (error instanceof FaultError) return error
  return new FaultError('internal', {}, error)
}

/** Characters of a foreign text that are looked at, and those that are shown. */
const MAX_SCANNED = 4096
const MAX_SHOWN = 500

/**
 * Takes whatever looks like a Vault token, a JWT or a wrapping token out of a foreign text and cuts it to a line.
 * Vault's errors should hold none; this makes sure. What stands in the text is the choice of whoever writes paths, bodies
 * and secrets: it is cut before a pattern meets it, and no pattern looks twice at a character more than a few times.
 */
export function scrub(text: string): string {
  const near = text.slice(0, MAX_SCANNED)
  const whole = text.length > MAX_SCANNED ? near.replace(CUT_TOKEN, '[token]') : near
  return whole
    .replace(JWT, '[token]')
    .replace(VAULT_TOKEN, '[token]')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, MAX_SHOWN)
}

/** The first characters of a foreign text. A token that the cut would make too short to be known is taken out. */
export function cutForeign(text: string, longest: number): string {
  return text.length > longest ? text.slice(0, longest).replace(CUT_TOKEN, '[token]') : text
}

/** Its first part is enough: a JWT may be cut in two. */
const JWT = /\beyJ[\w-]+(?:\.[\w-]*){0,2}/g
const VAULT_TOKEN = /\b(?:hv[sbr]|[sbr])\.[A-Za-z0-9_-]{20,}/g
/** The beginning of a Vault token at the cut, too short to be known by its length. */
const CUT_TOKEN = /\b(?:hv[sbr]|[sbr])\.[A-Za-z0-9_-]{0,19}$/

/** The first texts of a foreign list, joined, as far as scrub looks at all. */
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
