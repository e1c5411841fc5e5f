import type { Templates } from '../render/template.ts'
import { patternFault } from './key-pattern.ts'
import { MAX_PATTERN_LENGTH, MAX_TEMPLATE_LENGTH, show } from './schema.ts'
import { secretTypeFaults } from './secret-types.ts'

/** Source names listed in a fault. */
const MAX_NAMES = 16

/** Faults between fields. Checks the raw manifest, so that they are reported together with the schema's faults. */
export function crossFieldFaults(manifest: unknown, check: Templates['check']): string[] {
  const spec = fieldOf(manifest, 'spec')
  const sources = new Set(listOf(spec, 'sources').map((source) => fieldOf(source, 'name')))
  return [
    ...specFaults(spec),
    ...sourceFaults(spec),
    ...listOf(spec, 'files').flatMap((file, index) =>
      fileFaults(file, `spec.files[${index}]`, { sources, check }),
    ),
    ...listOf(spec, 'dataFrom').flatMap((entry, index) => dataFromFaults(entry, `spec.dataFrom[${index}]`)),
    ...credentialFaults(spec),
    ...nameFaults(spec),
    ...secretSyncFaults(spec),
  ]
}

export function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}

function specFaults(spec: unknown): string[] {
  if (typeof spec !== 'object' || spec === null) return []
  const isAppRole = fieldOf(spec, 'authMethod') === 'approle'
  const hasAppRole = fieldOf(spec, 'appRole') !== undefined
  const isEmpty = ['files', 'dataFrom', 'credentials'].every((name) => {
    const list = fieldOf(spec, name)
    return list === undefined || (Array.isArray(list) && list.length === 0)
  })
  return [
    ...(isEmpty ? ['spec.files: may be empty only when dataFrom or credentials is set'] : []),
    ...(isAppRole && !hasAppRole ? ['spec.appRole: required with authMethod "approle"'] : []),
    ...(hasAppRole && !isAppRole ? ['spec.appRole: needs authMethod "approle"'] : []),
    ...(fieldOf(spec, 'caCert') && fieldOf(spec, 'caCertRef') !== undefined
      ? ['spec.caCertRef: contradicts spec.caCert, keep one']
      : []),
    ...(fieldOf(spec, 'skipTLSVerify') === true && fieldOf(spec, 'caCertRef') !== undefined
      ? ['spec.caCertRef: contradicts skipTLSVerify, keep one']
      : []),
  ]
}

function sourceFaults(spec: unknown): string[] {
  return listOf(spec, 'sources').flatMap((source, index) => {
    const field = `spec.sources[${index}]`
    const method = fieldOf(source, 'method') ?? 'GET'
    const name = fieldOf(source, 'name')
    return [
      ...(method === 'GET' && fieldOf(source, 'data') !== undefined
        ? [`${field}.data: needs method "PUT" or "POST"`]
        : []),
      ...(method !== 'GET' && fieldOf(source, 'version') ? [`${field}.version: needs method "GET"`] : []),
      ...(name === 'data' ? [`${field}.name: "data" is what templates call the file's own source`] : []),
    ]
  })
}

type FileContext = { sources: ReadonlySet<unknown>; check: Templates['check'] }

function fileFaults(file: unknown, field: string, { sources, check }: FileContext): string[] {
  const source = fieldOf(file, 'source')
  const ref = fieldOf(source, 'ref')
  const template = fieldOf(file, 'template')
  const encoding = fieldOf(file, 'encoding')
  const isBase64 = fieldOf(file, 'decodeBase64') === true
  return [
    ...(source === undefined ? [] : eitherFaults(source, ['path', 'ref'], `${field}.source`)),
    ...(typeof ref === 'string' && !sources.has(ref)
      ? [`${field}.source.ref: ${show(ref)} is not among spec.sources (${namesOf(sources)})`]
      : []),
    ...(source !== undefined && fieldOf(source, 'key') === undefined && template === undefined
      ? [`${field}.source.key: required, unless the file has a template`]
      : []),
    ...(fieldOf(source, 'key') !== undefined && template !== undefined
      ? [`${field}.template: contradicts source.key, keep one`]
      : []),
    ...(typeof template === 'string' ? templateFaults(template, `${field}.template`, check) : []),
    ...(isBase64 && (encoding ?? 'base64') !== 'base64'
      ? [`${field}.decodeBase64: true contradicts encoding ${show(encoding)}, keep one`]
      : []),
    ...(template !== undefined && (isBase64 || (encoding ?? 'utf-8') !== 'utf-8')
      ? [`${field}.encoding: a template makes text; use its filter base64_decode instead`]
      : []),
  ]
}

function namesOf(sources: ReadonlySet<unknown>): string {
  const names = [...sources].filter((name) => typeof name === 'string')
  const shown = names.slice(0, MAX_NAMES).map((name) => name.slice(0, 63))
  return `${shown.join(', ') || 'none'}${names.length > MAX_NAMES ? ', …' : ''}`
}

/** The schema reports a template that is too long. */
function templateFaults(template: string, field: string, check: Templates['check']): string[] {
  if (template.length > MAX_TEMPLATE_LENGTH) return []
  const checked = check(template)
  return 'fault' in checked ? [`${field}: ${checked.fault}`] : []
}

/** Exactly one of two fields. */
function eitherFaults(object: unknown, names: readonly [string, string], field: string): string[] {
  const given = names.filter((name) => fieldOf(object, name) !== undefined)
  if (given.length === 1) return []
  // Without either, the usual one is named.
  return given.length === 0
    ? [`${field}.${names[0]}: required`]
    : [`${field}.${names[1]}: contradicts ${names[0]}, keep one`]
}

function dataFromFaults(entry: unknown, field: string): string[] {
  const format = fieldOf(entry, 'format') ?? 'Files'
  const hasName = Boolean(fieldOf(entry, 'fileName'))
  return [
    ...(format !== 'Files' && !hasName ? [`${field}.fileName: required with format ${show(format)}`] : []),
    ...(format === 'Files' && hasName ? [`${field}.fileName: has no meaning with format "Files"`] : []),
    ...['include', 'exclude'].flatMap((name) => {
      const pattern = fieldOf(entry, name)
      const isPattern = typeof pattern === 'string' && pattern.length <= MAX_PATTERN_LENGTH
      const fault = isPattern ? patternFault(pattern) : undefined
      return fault === undefined ? [] : [`${field}.${name}: ${fault}`]
    }),
  ]
}

/** Only secret IDs may be of another role. */
function credentialFaults(spec: unknown): string[] {
  return listOf(spec, 'credentials').flatMap((credential, index) => {
    const format = fieldOf(credential, 'format')
    if (format === 'SecretID' || format === 'WrappedSecretID') return []
    return ['role', 'authPath']
      .filter((name) => fieldOf(credential, name) !== undefined)
      .map((name) => `spec.credentials[${index}].${name}: needs format "SecretID" or "WrappedSecretID"`)
  })
}

/** Names that must be unique. Files, credentials and files of dataFrom share one volume. */
function nameFaults(spec: unknown): string[] {
  return [
    ...duplicates(entries(spec, 'sources', 'name')),
    ...duplicates([
      ...entries(spec, 'files', 'name'),
      ...entries(spec, 'dataFrom', 'fileName'),
      ...entries(spec, 'credentials', 'name'),
    ]),
    ...duplicates(entries(spec, 'secretSync', 'name')),
  ]
}

type Entry = { item: string; member: string; name: unknown }

function entries(object: unknown, list: string, member: string, field = 'spec'): Entry[] {
  return listOf(object, list).map((item, index) => ({
    item: `${field}.${list}[${index}]`,
    member,
    name: fieldOf(item, member),
  }))
}

function duplicates(all: readonly Entry[]): string[] {
  const firstByName = new Map<unknown, string>()
  return all.flatMap(({ item, member, name }) => {
    if (typeof name !== 'string' || name === '') return []
    const first = firstByName.get(name)
    if (first === undefined) firstByName.set(name, item)
    return first === undefined ? [] : [`${item}.${member}: ${show(name)} is already the name of ${first}`]
  })
}

function secretSyncFaults(spec: unknown): string[] {
  // The files of dataFrom with format Files are known only from Vault's response.
  const hasUnknownFiles = listOf(spec, 'dataFrom').some(
    (entry) => (fieldOf(entry, 'format') ?? 'Files') === 'Files',
  )
  const files = [
    ...entries(spec, 'files', 'name'),
    ...entries(spec, 'dataFrom', 'fileName'),
    ...entries(spec, 'credentials', 'name'),
  ]
  const names = new Set(files.map(({ name }) => name))
  return listOf(spec, 'secretSync').flatMap((secret, index) => {
    const field = `spec.secretSync[${index}]`
    const data = listOf(secret, 'data')
    const keys = entries(secret, 'data', 'key', field)
    const unknown = data.flatMap((item, at) => {
      const file = fieldOf(item, 'file')
      if (hasUnknownFiles || typeof file !== 'string' || names.has(file)) return []
      return [`${field}.data[${at}].file: ${show(file)} is not among the files of the import`]
    })
    const type = secretTypeFaults(
      fieldOf(secret, 'type'),
      keys.map(({ name }) => name),
      field,
    )
    return [...unknown, ...duplicates(keys), ...type]
  })
}

function listOf(object: unknown, name: string): readonly unknown[] {
  const list = fieldOf(object, name)
  return Array.isArray(list) ? list : []
}
