import * as z from 'zod'
import { parseDuration } from './duration.ts'
import { parseMode } from './file-mode.ts'
import { FILE_NAME, fileNameFault } from './file-name.ts'
import { certificatesFault } from './pem.ts'

/** Kubernetes object names: DNS labels, for names joined by dots. */
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/

/** A text held to one of the patterns that users know from the CRD. */
const matching = (pattern: RegExp) => z.string().regex(pattern)

/** A text for which '' says the same as leaving it out. */
const mayBeEmpty = z.string().transform((text) => (text === '' ? undefined : text))

/** Slashes at the ends or in a row mean nothing to Vault; a segment `..` would name another path than the one shown. */
const slashed = (pattern: RegExp) =>
  matching(pattern).transform((text, context) => {
    const segments = text.split('/').filter(Boolean)
    if (segments.length > 0 && !segments.includes('.') && !segments.includes('..')) return segments.join('/')
    return refuse(context, segments.length > 0 ? 'must not have a segment "." or ".."' : 'must not be empty')
  })

const duration = z.string().transform((text, context) => {
  const ms = parseDuration(text)
  return ms ? ms : refuse(context, `must be a duration above 0 such as 30s, 2m or 1m30s, is ${show(text)}`)
})

const mode = z.unknown().transform((value, context) => {
  const parsed = parseMode(value)
  return 'mode' in parsed ? parsed.mode : refuse(context, parsed.fault)
})

/** The value is never shown: an address with a password in it is one of the faults. */
const address = z.string().transform((text, context) => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:\/\/[^\s|\\]+$/.test(text)) return refuse(context, 'must be http://… or https://…')
  if (url.username !== '' || url.password !== '')
    return refuse(context, 'must not hold a user name or password')
  return /[?#]/.test(text) ? refuse(context, 'must not have a query or fragment') : text
})

const caCert = mayBeEmpty.transform((pem, context) => {
  const fault = pem === undefined ? undefined : certificatesFault(pem)
  return fault === undefined ? pem : refuse(context, fault)
})

/** The certificates stand in an object of the import's own namespace. */
const caCertRefSchema = z.strictObject({
  kind: z.enum(['ConfigMap', 'Secret']),
  name: matching(SUBDOMAIN).max(253),
  key: matching(/^[-._a-zA-Z0-9]+$/).max(253),
})

const fileName = matching(FILE_NAME).transform((name, context) => {
  const fault = fileNameFault(name)
  return fault === undefined
    ? name
    : refuse(context, `${fault}${name.length > 64 ? '' : `, is ${show(name)}`}`)
})

const secretPath = slashed(/^[-a-zA-Z0-9_./]+$/)
const objectKey = matching(/^[-._a-zA-Z0-9]+$/).max(253)
const sourceName = matching(/^[-_a-zA-Z0-9]+$/).max(63)

/** One call to Vault that several files share. */
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
  key: matching(/^[-a-zA-Z0-9_.]+$/).optional(),
})

const fileSchema = z.strictObject({
  name: fileName,
  source: sourceSchema,
  template: z.string().min(1).max(65_536).optional(),
  decodeBase64: z.boolean().optional(),
  encoding: z.enum(['utf-8', 'base64', 'hex']).optional(),
  mode: mode.optional(),
  optional: z.boolean().optional(),
})

const dataFromSchema = z.strictObject({
  path: secretPath,
  prefix: matching(/^[-_a-zA-Z0-9.]*$/)
    .max(128)
    .optional(),
  include: mayBeEmpty.optional(),
  exclude: mayBeEmpty.optional(),
  format: z.enum(['Files', 'JSON', 'Dotenv', 'Shell', 'Properties']).optional(),
  fileName: mayBeEmpty.pipe(fileName.optional()).optional(),
})

const credentialSchema = z.strictObject({
  format: z.enum(['Token', 'KubernetesVaultToken', 'SecretID', 'WrappedSecretID', 'CABundle']),
  name: fileName,
  mode: mode.optional(),
  role: matching(/^[-_.a-zA-Z0-9]+$/).optional(),
  authPath: slashed(/^[-_./A-Za-z0-9]+$/).optional(),
})

const secretSyncSchema = z.strictObject({
  name: matching(SUBDOMAIN).max(253),
  type: z.string().min(1).max(253).optional(),
  deletionPolicy: z.enum(['Delete', 'Retain']).optional(),
  data: z.array(z.strictObject({ key: objectKey, file: fileName })).min(1),
})

const secretIdRefSchema = z.strictObject({ name: matching(SUBDOMAIN).max(253), key: objectKey })
const appRoleSchema = z.strictObject({
  roleId: z.string().min(1).max(256),
  secretIdRef: secretIdRefSchema,
})

const specSchema = z.strictObject({
  type: z.literal('CSI').optional(),
  role: matching(/^[-_.a-zA-Z0-9]+$/),
  authMethod: z.enum(['kubernetes', 'jwt', 'approle']).optional(),
  appRole: appRoleSchema.optional(),
  authPath: slashed(/^[-_./A-Za-z0-9]+$/).optional(),
  namespace: slashed(/^[-_./a-zA-Z0-9]+$/).optional(),
  address: address.optional(),
  caCert: caCert.optional(),
  caCertRef: caCertRefSchema.optional(),
  tlsServerName: mayBeEmpty.pipe(matching(/^[-a-zA-Z0-9.:]+$/).optional()).optional(),
  audience: mayBeEmpty.optional(),
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
  metadata: z.looseObject({ name: matching(SUBDOMAIN).max(253), namespace: matching(LABEL).max(63) }),
  spec: specSchema,
  status: z.unknown().optional(),
})

export type Manifest = z.output<typeof manifestSchema>
export type ManifestFile = z.output<typeof fileSchema>

/** Fields of each object of a manifest, by its path without indices. */
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

/** A foreign value in a fault's text, cut short. */
export function show(value: unknown): string {
  return JSON.stringify(typeof value === 'string' ? value.slice(0, 64) : value) ?? String(value)
}

function refuse(context: z.core.$RefinementCtx, message: string): never {
  context.issues.push({ code: 'custom', message, input: context.value })
  return z.NEVER
}
