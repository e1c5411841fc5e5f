import type { FaultError } from '../faults/fault.ts'
import type { SecretData } from '../ports/vault.ts'

/** Vault's answers to an import's calls and issue requests, by key. */
export type Answers = {
  /** The data, or the fault of the call. */
  of(key: string): SecretData | FaultError
  vaultAddr: string
  /** PEM of the CAs that verify Vault; undefined: the system's. */
  authority: string | undefined
}
