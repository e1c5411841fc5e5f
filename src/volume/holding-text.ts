import { z } from 'zod'
import { isJsonNumber, isJsonObject, parseJson, stringifyJson } from '../core/json/json.ts'
import type { Json, JsonNumber } from '../core/json/types.ts'
import { parseValue, toValue } from '../core/json/value.ts'
import type { Lease } from '../core/ports/leases.ts'
import { SecretText } from '../core/secret.ts'

// JSON has neither undefined nor Infinity: null stands for both, by field.
const number = z
  .custom<JsonNumber>((value) => isJsonNumber(value as Json))
  .transform(({ rawJSON }) => Number(rawJSON))
const duration = number.nullable().transform((ms) => ms ?? Number.POSITIVE_INFINITY)
const value = z.custom<Json>((json) => json !== undefined).transform(toValue)

function maybe<Schema extends z.ZodType>(schema: Schema) {
  return schema.nullable().transform((value) => value ?? undefined)
}

const leaseSchema = z.object({
  id: z.string(),
  leasedAt: number,
  durationMs: duration,
  renewable: z.boolean(),
})

const tokenSchema = z.object({
  token: z.string().transform((text) => new SecretText(text)),
  accessor: z.string(),
  leasedAt: number,
  durationMs: duration,
  renewable: z.boolean(),
  isBatch: z.boolean(),
})

const callSchema = z.object({
  key: z.string(),
  method: z.enum(['GET', 'PUT', 'POST']),
  path: z.string(),
  version: maybe(number),
  data: maybe(z.custom<Json>((value) => isJsonObject(value as Json)).transform(plainObject)),
  isIssued: z.boolean(),
  renewAt: number,
  revokeOnUnmount: z.boolean(),
})

const orderFields = { key: z.string(), renewAt: number, revokeOnUnmount: z.boolean() }
const orderSchema = z.discriminatedUnion('kind', [
  z.object({ ...orderFields, kind: z.literal('call'), call: callSchema }),
  z.object({ ...orderFields, kind: z.literal('token') }),
  z.object({
    ...orderFields,
    kind: z.literal('secret-id'),
    role: z.string(),
    authPath: z.string(),
    isWrapped: z.boolean(),
  }),
])

const identitySchema = z.object({
  key: z.string(),
  endpoint: z.object({
    address: z.string(),
    namespace: z.string(),
    caCert: maybe(z.string()),
    skipTLSVerify: z.boolean(),
    tlsServerName: maybe(z.string()),
  }),
  method: z.enum(['kubernetes', 'jwt', 'approle']),
  authMount: z.string(),
  role: z.string(),
  roleId: maybe(z.string()),
  audience: z.string(),
  podNamespace: z.string(),
  serviceAccount: z.string(),
})

const dataSchema = z.object({
  // Pairs, for an object would put keys that look like numbers first.
  values: z.array(z.tuple([z.string(), value])).transform((pairs) => new Map(pairs)),
  version: maybe(number),
  lease: leaseSchema.optional(),
})

const holdingSchema = z.object({
  id: z.string(),
  request: orderSchema,
  identity: identitySchema,
  token: maybe(tokenSchema),
  data: dataSchema.transform(({ lease, ...data }) => (lease === undefined ? data : { ...data, lease })),
  vaultLease: maybe(leaseSchema),
  expiresAt: maybe(number),
  issuedAt: number,
  state: z.enum(['active', 'revoking']),
}) satisfies z.ZodType<Lease>

/** As text that a later process reads again. It holds the secrets in the clear: seal it. */
export function serializeHoldings(holdings: readonly Lease[]): string {
  return JSON.stringify(holdings.map(disclosed), (_key, value) => (value === undefined ? null : value))
}

/** @throws Error for a text that serializeHoldings of this version did not make; its message may hold secrets */
export function parseHoldings(text: string): Lease[] {
  return z.array(holdingSchema).parse(parseJson(text))
}

/** With everything that hides itself from JSON laid open. */
function disclosed({ token, data, ...holding }: Lease): object {
  return {
    ...holding,
    token: token && { ...token, token: token.token.reveal() },
    data: { ...data, values: [...data.values].map(([key, held]) => [key, parseValue(held)]) },
  }
}

/** With numbers as an import has them. */
function plainObject(value: Json): Record<string, unknown> {
  return JSON.parse(stringifyJson(value)) as Record<string, unknown>
}
