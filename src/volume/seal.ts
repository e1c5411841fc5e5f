import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const CIPHER = 'aes-256-gcm'
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** Bytes that sealing adds. */
export const SEAL_BYTES = NONCE_BYTES + TAG_BYTES

/** A random key, as text for the ledger. */
export function newSealKey(): string {
  return randomBytes(KEY_BYTES).toString('base64url')
}

/**
 * Encrypts so that only `key` together with `label` opens it and any changed byte is detected.
 * @param label what it belongs to; not secret, not part of the result
 * @throws Error for a key that newSealKey did not make
 */
export function seal(plain: Uint8Array, key: string, label: string): Buffer {
  // Using a nonce twice with one key would reveal both texts.
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, keyBytes(key), nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(Buffer.from(label))
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed])
}

/** @throws Error when key, label or any byte differs */
export function unseal(sealed: Uint8Array, key: string, label: string): Buffer {
  const tag = sealed.subarray(NONCE_BYTES, SEAL_BYTES)
  const decipher = createDecipheriv(CIPHER, keyBytes(key), sealed.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(Buffer.from(label))
  decipher.setAuthTag(tag)
  return Buffer.concat([decipher.update(sealed.subarray(SEAL_BYTES)), decipher.final()])
}

function keyBytes(key: string): Buffer {
  return Buffer.from(key, 'base64url')
}
