import { z } from 'zod'
import { isJsonNumber, isJsonObject, parseJson, stringifyJson } from '../core/json/json.ts'
import type { Json, JsonNumber } from '../core/json/types.ts'
import { parseValue, toValue } from '../core/json/value.ts'
import type { Lease } from '../core/ports/leases.ts'
import { SecretText } from '../core/secret.ts'

// JSON has neither undefined nor Infinity: each field has null for one of them.
const number = z
  .custom<JsonNumber>((value) => isJsonNumber(value as Json))
  .transform(({ rawJSON }) => Number(rawJSON))
const duration = number.nullable().transform((ms) => ms ?? Number.POSITIVE_INFINITY)
const value = z.custom<Json>((json) => json !== undefined).transform(toValue)

function maybe<Schema extends z.ZodType>(schema: Schema) {
  return schema.nullable().transform((value) => value ?? undefined)
}

const vaultLeaseSchema = z.object({
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

const requestFields = { key: z.string(), renewAt: number, revokeOnUnmount: z.boolean() }
const requestSchema = z.discriminatedUnion('kind', [
  z.object({ ...requestFields, kind: z.literal('call'), call: callSchema }),
  z.object({ ...requestFields, kind: z.literal('token') }),
  z.object({
    ...requestFields,
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
  // Pairs: an object would put numeric keys first.
  values: z.array(z.tuple([z.string(), value])).transform((pairs) => new Map(pairs)),
  version: maybe(number),
  lease: vaultLeaseSchema.optional(),
})

const leaseSchema = z.object({
  id: z.string(),
  request: requestSchema,
  identity: identitySchema,
  token: maybe(tokenSchema),
  data: dataSchema.transform(({ lease, ...data }) => (lease === undefined ? data : { ...data, lease })),
  vaultLease: maybe(vaultLeaseSchema),
  expiresAt: maybe(number),
  issuedAt: number,
  state: z.enum(['active', 'revoking']),
}) satisfies z.ZodType<Lease>

/** Text that a later process can parse. It holds the secrets in plain text: seal it. */
export function serializeLeases(leases: readonly Lease[]): string {
  return JSON.stringify(leases.map(toPlain), (_key, value) => (value === undefined ? null : value))
}

/** @throws Error for text that serializeLeases of this version did not make; its message may hold secrets */
export function parseLeases(text: string): Lease[] {
  return z.array(leaseSchema).parse(parseJson(text))
}

/** With the values that JSON.stringify would mask. */
function toPlain({ token, data, ...lease }: Lease): object {
  return {
    ...lease,
    token: token && { ...token, token: token.token.reveal() },
    data: { ...data, values: [...data.values].map(([key, member]) => [key, parseValue(member)]) },
  }
}

/** With numbers as in an import: not JsonNumbers. */
function plainObject(value: Json): Record<string, unknown> {
  return JSON.parse(stringifyJson(value)) as Record<string, unknown>
}
