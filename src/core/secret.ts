import { inspect } from 'node:util'

/** Shown for a secret in logs, errors, JSON and debuggers. */
const MASK = '[secret]'

/**
 * Bytes that never print: file contents read from Vault. Call `reveal()` only where files are written.
 */
export class SecretBytes {
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  static fromText(text: string): SecretBytes {
    return new SecretBytes(Buffer.from(text, 'utf8'))
  }

  /** Length in bytes. */
  get byteLength(): number {
    return this.#bytes.byteLength
  }

  equals(other: SecretBytes | Uint8Array): boolean {
    return this.#bytes.equals(other instanceof SecretBytes ? other.#bytes : other)
  }

  reveal(): Buffer {
    return this.#bytes
  }

  toJSON(): string {
    return MASK
  }

  toString(): string {
    return MASK
  }

  [inspect.custom](): string {
    return MASK
  }
}

/**
 * Text that never prints: Vault tokens and service-account tokens. Call `reveal()` only where a request to Vault is
 * written.
 */
export class SecretText {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  equals(other: SecretText): boolean {
    return this.#text === other.#text
  }

  reveal(): string {
    return this.#text
  }

  toJSON(): string {
    return MASK
  }

  toString(): string {
    return MASK
  }

  [inspect.custom](): string {
    return MASK
  }
}
