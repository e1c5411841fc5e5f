import type { SecretText } from '../core/secret.ts'
import type { VaultToken } from './login.ts'

/** Which of an identity's tokens are in use: one that was replaced is revoked when the last call with it has ended. */
export type TokenUses = {
  /** A call begins. */
  hold(token: VaultToken): void
  /** It has ended. */
  free(token: VaultToken): void
  /** Another has taken the token's place. */
  replaced(token: VaultToken): void
}

/** @param revoke takes the token back, whenever it can */
export function createTokenUses(revoke: (token: VaultToken) => void): TokenUses {
  // By the text's object, which renewals hand on.
  const counts = new Map<SecretText, number>()
  const ending = new Map<SecretText, VaultToken>()

  const end = (token: VaultToken) => {
    ending.delete(token.token)
    revoke(token)
  }

  return {
    hold({ token }) {
      counts.set(token, (counts.get(token) ?? 0) + 1)
    },
    free({ token }) {
      const count = (counts.get(token) ?? 0) - 1
      if (count > 0) {
        counts.set(token, count)
        return
      }
      counts.delete(token)
      const replaced = ending.get(token)
      if (replaced !== undefined) end(replaced)
    },
    replaced(token) {
      if (counts.has(token.token)) ending.set(token.token, token)
      else end(token)
    },
  }
}
