import * as z from 'zod'
import { parseDuration } from '../duration.ts'
import { certificatesFault } from '../pem.ts'
import { parseMode } from './file-mode.ts'
import { FILE_NAME, fileNameFault, MAX_FILE_NAME_LENGTH } from './file-name.ts'

/** Kubernetes object names: DNS labels, and subdomains of labels joined by dots. */
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/

/** Characters. All lengths here are those of the CRD. */
export const MAX_TEMPLATE_LENGTH = 65_536
export const MAX_PATTERN_LENGTH = 256

/** A text of limited length: a longer one is not checked any further. */
const text = (longest: number) => z.string().max(longest, { abort: true })

/** A text that matches a pattern of the CRD. */
const matching = (pattern: RegExp, longest: number) => text(longest).regex(pattern)

/** A text for which '' means the same as absent. */
const mayBeEmpty = (longest: number) => text(longest).transform((given) => (given === '' ? undefined : given))

/** Vault ignores leading, trailing and repeated slashes; a segment `..` would make another path than the one shown. */
const slashed = (pattern: RegExp, longest: number) =>
  matching(pattern, longest).transform((given, context) => {
    const segments = given.split('/').filter(Boolean)
    if (segments.length > 0 && !segments.includes('.') && !segments.includes('..')) return segments.join('/')
    return refuse(context, segments.length > 0 ? 'must not have a segment "." or ".."' : 'must not be empty')
  })

const duration = text(32).transform((given, context) => {
  const ms = parseDuration(given)
  return ms ? ms : refuse(context, `must be a duration above 0 such as 30s, 2m or 1m30s, is ${show(given)}`)
})

const mode = z.unknown().transform((value, context) => {
  const parsed = parseMode(value)
  return 'mode' in parsed ? parsed.mode : refuse(context, parsed.fault)
})

/** The value is never shown: it may contain a password, which is one of the faults. */
const address = text(2048).transform((given, context) => {
  const url = URL.canParse(given) ? new URL(given) : undefined
  if (!url || !/^https?:\/\/[^\s|\\]+$/.test(given)) return refuse(context, 'must be http://… or https://…')
  if (url.username !== '' || url.password !== '')
    return refuse(context, 'must not hold a user name or password')
  return /[?#]/.test(given) ? refuse(context, 'must not have a query or fragment') : given
})

const caCert = mayBeEmpty(262_144).transform((pem, context) => {
  const fault = pem === undefined ? undefined : certificatesFault(pem)
  return fault === undefined ? pem : refuse(context, fault)
})

/** Object in the import's namespace that contains the certificates. */
const caCertRefSchema = z.strictObject({
  kind: z.enum(['ConfigMap', 'Secret']),
  name: matching(SUBDOMAIN, 253),
  key: matching(/^[-._a-zA-Z0-9]+$/, 253),
})

const fileName = matching(FILE_NAME, MAX_FILE_NAME_LENGTH).transform((name, context) => {
  const fault = fileNameFault(name)
  return fault === undefined
    ? name
    : refuse(context, `${fault}${name.length > 64 ? '' : `, is ${show(name)}`}`)
})

const secretPath = slashed(/^[-a-zA-Z0-9_./]+$/, 1024)
const objectKey = matching(/^[-._a-zA-Z0-9]+$/, 253)
const sourceName = matching(/^[-_a-zA-Z0-9]+$/, 63)

/** A call to Vault that several files share. */
const namedSourceSchema = z.strictObject({
  name: sourceName,
  path: secretPath,
  method: z.enum(['GET', 'PUT', 'POST']).optional(),
  data: z.record(z.string(), z.unknown()).optional(),
  version: z.int().min(0).optional(),
  lease: z
    .strictObject({
      renewAt: z.int().min(1).max(99).optional(),
      revokeOnUnmount: z.boolean().optional(),
    })
    .optional(),
})

const sourceSchema = z.strictObject({
  path: secretPath.optional(),
  ref: sourceName.optional(),
  key: matching(/^[-a-zA-Z0-9_.]+$/, 512).optional(),
})

const fileSchema = z.strictObject({
  name: fileName,
  source: sourceSchema,
  template: text(MAX_TEMPLATE_LENGTH).min(1).optional(),
  decodeBase64: z.boolean().optional(),
  encoding: z.enum(['utf-8', 'base64', 'hex']).optional(),
  mode: mode.optional(),
  optional: z.boolean().optional(),
})

const dataFromSchema = z.strictObject({
  path: secretPath,
  prefix: matching(/^[-_a-zA-Z0-9.]*$/, 128).optional(),
  include: mayBeEmpty(MAX_PATTERN_LENGTH).optional(),
  exclude: mayBeEmpty(MAX_PATTERN_LENGTH).optional(),
  format: z.enum(['Files', 'JSON', 'Dotenv', 'Shell', 'Properties']).optional(),
  fileName: mayBeEmpty(MAX_FILE_NAME_LENGTH).pipe(fileName.optional()).optional(),
})

const credentialSchema = z.strictObject({
  format: z.enum(['Token', 'KubernetesVaultToken', 'SecretID', 'WrappedSecretID', 'CABundle']),
  name: fileName,
  mode: mode.optional(),
  role: matching(/^[-_.a-zA-Z0-9]+$/, 256).optional(),
  authPath: slashed(/^[-_./A-Za-z0-9]+$/, 512).optional(),
})

const secretSyncSchema = z.strictObject({
  name: matching(SUBDOMAIN, 253),
  type: text(253).min(1).optional(),
  deletionPolicy: z.enum(['Delete', 'Retain']).optional(),
  data: z.array(z.strictObject({ key: objectKey, file: fileName })).min(1),
})

const secretIdRefSchema = z.strictObject({ name: matching(SUBDOMAIN, 253), key: objectKey })
const appRoleSchema = z.strictObject({
  roleId: text(256).min(1),
  secretIdRef: secretIdRefSchema,
})

const specSchema = z.strictObject({
  type: z.literal('CSI').optional(),
  role: matching(/^[-_.a-zA-Z0-9]+$/, 256),
  authMethod: z.enum(['kubernetes', 'jwt', 'approle']).optional(),
  appRole: appRoleSchema.optional(),
  authPath: slashed(/^[-_./A-Za-z0-9]+$/, 512).optional(),
  namespace: slashed(/^[-_./a-zA-Z0-9]+$/, 512).optional(),
  address: address.optional(),
  caCert: caCert.optional(),
  caCertRef: caCertRefSchema.optional(),
  tlsServerName: mayBeEmpty(253)
    .pipe(matching(/^[-a-zA-Z0-9.:]+$/, 253).optional())
    .optional(),
  audience: mayBeEmpty(512).optional(),
  skipTLSVerify: z.boolean().optional(),
  refreshInterval: duration.optional(),
  updateMode: z.enum(['Live', 'InPlace', 'Atomic']).optional(),
  missingPolicy: z.enum(['Fail', 'Ignore']).optional(),
  defaultMode: mode.optional(),
  sources: z.array(namedSourceSchema).optional(),
  files: z.array(fileSchema).optional(),
  dataFrom: z.array(dataFromSchema).optional(),
  credentials: z.array(credentialSchema).optional(),
  secretSync: z.array(secretSyncSchema).optional(),
})

export const manifestSchema = z.strictObject({
  apiVersion: z.literal('deckhouse.io/v1alpha1'),
  kind: z.literal('SecretsStoreImport'),
  metadata: z.looseObject({ name: matching(SUBDOMAIN, 253), namespace: matching(LABEL, 63) }),
  spec: specSchema,
  status: z.unknown().optional(),
})

export type Manifest = z.output<typeof manifestSchema>
export type ManifestFile = z.output<typeof fileSchema>

/** Field names of each object of a manifest, by its path without indices. */
export const knownFields: Readonly<Record<string, readonly string[]>> = {
  '': Object.keys(manifestSchema.shape),
  spec: Object.keys(specSchema.shape),
  'spec.appRole': Object.keys(appRoleSchema.shape),
  'spec.appRole.secretIdRef': Object.keys(secretIdRefSchema.shape),
  'spec.caCertRef': Object.keys(caCertRefSchema.shape),
  'spec.sources[]': Object.keys(namedSourceSchema.shape),
  'spec.sources[].lease': ['renewAt', 'revokeOnUnmount'],
  'spec.files[]': Object.keys(fileSchema.shape),
  'spec.files[].source': Object.keys(sourceSchema.shape),
  'spec.dataFrom[]': Object.keys(dataFromSchema.shape),
  'spec.credentials[]': Object.keys(credentialSchema.shape),
  'spec.secretSync[]': Object.keys(secretSyncSchema.shape),
  'spec.secretSync[].data[]': ['key', 'file'],
}

/** Field names of the object at a path of a manifest; none for unknown paths. */
export function fieldsOf(place: string): readonly string[] {
  return Object.hasOwn(knownFields, place) ? (knownFields[place] ?? []) : []
}

/** Shows a foreign value in a fault, shortened. */
export function show(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object'
  return (
    JSON.stringify(typeof value === 'string' ? value.slice(0, 64).toWellFormed() : value) ?? String(value)
  )
}

function refuse(context: z.core.$RefinementCtx, message: string): never {
  context.issues.push({ code: 'custom', message, input: context.value })
  return z.NEVER
}
