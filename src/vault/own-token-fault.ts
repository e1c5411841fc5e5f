import type { Facts } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import { TOKEN_EXPORT_HINT } from '../core/imports/policy.ts'
import { isJsonNumber } from '../core/json/json.ts'
import type { Json } from '../core/json/types.ts'
import type { SecretData } from '../core/ports/vault.ts'
import type { SecretText } from '../core/secret.ts'

/** Characters from which a token is looked for within a text too; those that Vault makes have 26 and more. */
const SHORTEST_PART = 20

/**
 * The last line of defence behind policy.ts, by whatever path it came: the token that asks is no file's content. Several
 * pods may share it.
 * @throws FaultError policy_refused
 */
export function refuseOwnToken({ values }: SecretData, token: SecretText, facts: Facts): void {
  if (!holdsText(values.values(), token.reveal())) return
  throw new FaultError('policy_refused', {
    ...facts,
    reason: `the answer of ${facts.path} holds the Vault token that asked, which never goes into a file`,
    setting: TOKEN_EXPORT_HINT,
  })
}

/** By a list of what is still to do: an answer may be as deep as a stack. */
function holdsText(values: Iterable<Json>, wanted: string): boolean {
  const open: Json[] = [...values]
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value === 'string') {
      if (value === wanted || (wanted.length >= SHORTEST_PART && value.includes(wanted))) return true
    } else if (typeof value === 'object' && value !== null && !isJsonNumber(value)) {
      for (const member of Object.values(value)) if (typeof member !== 'boolean') open.push(member)
    }
  }
  return false
}
