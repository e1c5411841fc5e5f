/** A JSON value whose numbers keep their literal text. */
export type Json = null | boolean | string | JsonNumber | Json[] | { [key: string]: Json }
/** An interface: a type alias would match the index signature above, and isJsonObject could not rule it out. */
export interface JsonNumber {
  readonly rawJSON: string
}
