import type { Facts } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Identity } from '../core/ports/vault.ts'
import { answerFacts, serverFault } from './faults.ts'
import type { Answer } from './transport.ts'

type Rule = {
  text: RegExp
  /** Auth method of the import to which the rule applies; undefined: any. */
  method?: Identity['method']
  fault: 'login_denied' | 'login_reviewer' | 'login_audience' | 'login_mount'
  facts?: Facts
}

/** The reason of a login_denied for a role that is not there. */
export const UNKNOWN_ROLE = 'the role does not exist at this auth mount'

/**
 * Error texts of OpenBao and HashiCorp Vault for a refused login, most specific first.
 * A bare "permission denied" is not among them: see login.ts.
 */
const rules: readonly Rule[] = [
  { text: /audience/i, fault: 'login_audience' },
  {
    text: /lookup failed|tokenreview|token review/i,
    fault: 'login_reviewer',
  },
  {
    text: /invalid (role|secret)( or secret)? id/i,
    fault: 'login_denied',
    facts: { reason: 'role ID or secret ID is wrong, or the secret ID has ended or was used up' },
  },
  {
    // HashiCorp Vault looks up a name of the caller first.
    text: /missing role_id|failed to determine alias name/i,
    method: 'approle',
    fault: 'login_denied',
    facts: { reason: 'no role ID was sent', setting: 'spec.appRole.roleId of the import' },
  },
  {
    // HashiCorp Vault looks up a name of the caller first.
    text: /missing role_id|failed to determine alias name/i,
    fault: 'login_mount',
    facts: { reason: 'is of type approle', setting: 'spec.authPath or spec.authMethod of the import' },
  },
  {
    text: /missing (role|jwt)\b/i,
    method: 'approle',
    fault: 'login_mount',
    facts: { reason: 'is not of type approle', setting: 'spec.authPath or spec.authMethod of the import' },
  },
  {
    text: /missing secret_id/i,
    fault: 'login_denied',
    facts: { reason: 'the secret ID is empty', setting: 'the Secret of spec.appRole.secretIdRef' },
  },
  {
    text: /\bCIDR/i,
    fault: 'login_denied',
    facts: {
      reason: "the role does not take logins from this node's address",
      setting: 'secret_id_bound_cidrs and token_bound_cidrs of the role',
    },
  },
  {
    text: /service account name not authorized/i,
    fault: 'login_denied',
    facts: { reason: 'the service account is not bound to the role' },
  },
  {
    text: /namespace not authorized/i,
    fault: 'login_denied',
    facts: { reason: "the pod's namespace is not bound to the role" },
  },
  {
    text: /invalid subject|\(sub\) claim/i,
    fault: 'login_denied',
    facts: { reason: 'the service account is not the bound subject of the role' },
  },
  {
    text: /bound claim|validating claims/i,
    fault: 'login_denied',
    facts: { reason: "the service-account token lacks a claim that the role's bound_claims ask for" },
  },
  {
    text: /invalid role name|role .*could not be found|role .*not found|missing role/i,
    fault: 'login_denied',
    facts: { reason: UNKNOWN_ROLE },
  },
  {
    text: /\(exp\) claim|token is expired|token has expired/i,
    fault: 'login_denied',
    facts: {
      reason: 'the service-account token has expired',
      setting: 'the clocks of this node, the API server and Vault',
    },
  },
  {
    text: /signature|no known key|\(iss\) claim|issuer|error verifying token/i,
    fault: 'login_denied',
    facts: {
      reason: "the auth mount does not trust this cluster's service-account tokens",
      setting:
        'keys and issuer in the config of the auth mount (jwt_validation_pubkeys, jwks_url or oidc_discovery_url, bound_issuer)',
    },
  },
  {
    text: /could not load (backend )?configuration|not configured/i,
    fault: 'login_mount',
    facts: { reason: 'is not configured' },
  },
  {
    text: /namespace not found/i,
    fault: 'login_mount',
    facts: {
      reason: 'cannot be asked, for the Vault namespace does not exist',
      setting: 'spec.namespace of the import (or --vault-namespace)',
    },
  },
  {
    text: /no handler for route|unsupported path|unsupported operation|missing client token|route entry not found/i,
    fault: 'login_mount',
  },
]

/** Why Vault refused a login. */
export function loginFault(answer: Answer, now: number, facts: Facts): FaultError {
  const known = { ...facts, ...answerFacts(answer) }
  const rule = rules.find(
    ({ text, method }) =>
      text.test(known.serverMessage ?? '') && (method === undefined || method === facts.method),
  )
  // A broken TokenReview may come as a 500.
  if (rule && answer.status !== 503 && answer.status !== 429) {
    return new FaultError(rule.fault, { ...known, ...rule.facts })
  }
  const server = serverFault(answer, now, facts)
  if (server) return server
  if (answer.status === 404 || answer.status === 405) return new FaultError('login_mount', known)
  if (answer.status === 400 || answer.status === 401 || answer.status === 403) {
    return new FaultError('login_denied', known)
  }
  return new FaultError('vault_error', known)
}

/** Whether Vault gave only the error that it gives for several causes. */
export function isBareDenial({ fault, facts }: FaultError): boolean {
  return fault === 'login_denied' && facts.httpStatus === 403 && facts.serverMessage === 'permission denied'
}
