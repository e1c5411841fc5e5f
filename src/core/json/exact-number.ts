// See json.ts: TypeScript's lib does not know it yet.
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown }

/** A number that JavaScript would write otherwise than Vault did, such as 9007199254740993 or 1.10. */
export class ExactNumber {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  toString(): string {
    return this.#text
  }

  toJSON(): unknown {
    return rawJSON(this.#text)
  }
}
