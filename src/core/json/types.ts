/** A JSON value whose numbers keep their literal text: see core/json.ts. */
export type Json = null | boolean | string | JsonNumber | Json[] | { [key: string]: Json }
/** An interface, for a type alias would fit the index signature above and isJsonObject could not rule it out. */
export interface JsonNumber {
  readonly rawJSON: string
}
