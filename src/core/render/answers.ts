import type { FaultError } from '../faults/fault.ts'
import type { SecretData } from '../ports/vault.ts'

/** What Vault said, by the key of each call and order of the import. */
export type Answers = {
  /** Its data, or the fault of reading it. */
  of(key: string): SecretData | FaultError
  vaultAddr: string
  /** PEM of the authorities that verify Vault; undefined: the system's. */
  authority: string | undefined
}
