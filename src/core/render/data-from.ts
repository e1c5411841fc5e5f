import { FaultError } from '../faults/fault.ts'
import { fileNameFault } from '../imports/file-name.ts'
import type { DataFormat, DataFromSpec } from '../imports/import.ts'
import { matchKeys } from '../imports/key-pattern.ts'
import { isNull, jsonOf, textOf, type Value } from '../json/value.ts'
import type { SecretData } from '../ports/vault.ts'
import { SecretBytes } from '../secret.ts'
import { dotenvJson, dotenvLine } from './dotenv.ts'
import type { FormattedLine } from './formatted-line.ts'
import { propertiesLine } from './properties.ts'
import { shellLine } from './shell.ts'

export type DataFile = { name: string; content: SecretBytes }

type Entry = { key: string; name: string; value: Value }

/**
 * Renders every key of a path, as one file per key or as one file of all keys. Keys are sorted, so that the same secret
 * makes the same files regardless of the order in Vault's response.
 * @throws FaultError key_unusable naming the key
 */
export function renderDataFrom(entry: DataFromSpec, data: SecretData): DataFile[] {
  return writers[entry.format](selectEntries(entry, data), entry)
}

const writers = {
  Files: (entries, spec) => present(entries).map((entry) => toFile(entry, spec)),
  JSON: (entries, spec) => [singleFile(spec, toJson(entries))],
  Dotenv: (entries, spec) => [singleFile(spec, toLines(entries, spec, dotenvLine, dotenvJson))],
  Shell: (entries, spec) => [singleFile(spec, toLines(entries, spec, shellLine))],
  Properties: (entries, spec) => [singleFile(spec, toLines(entries, spec, propertiesLine))],
} satisfies Record<DataFormat, (entries: readonly Entry[], spec: DataFromSpec) => DataFile[]>

function selectEntries(spec: DataFromSpec, { values }: SecretData): Entry[] {
  const keys = [...values.keys()]
  const included = matching(spec, 'include', keys)
  const excluded = matching(spec, 'exclude', keys)
  return [...values]
    .filter(([key]) => (included?.has(key) ?? true) && !excluded?.has(key))
    .map(([key, value]) => ({ key, name: `${spec.prefix}${key}`, value }))
    .sort((left, right) => (left.key < right.key ? -1 : 1))
}

/** Keys that match a pattern of the entry; undefined without a pattern. */
function matching(
  spec: DataFromSpec,
  field: 'include' | 'exclude',
  keys: readonly string[],
): ReadonlySet<string> | undefined {
  const pattern = spec[field]
  return pattern === undefined ? undefined : matchKeys(pattern, keys)
}

/** null counts as absent: a file that says `null` is useless. */
function present(entries: readonly Entry[]): Entry[] {
  return entries.filter(({ value }) => !isNull(value))
}

function toFile({ key, name, value }: Entry, spec: DataFromSpec): DataFile {
  const fault = fileNameFault(name)
  if (fault === undefined) return { name, content: SecretBytes.fromText(textOf(value)) }
  throw unusable(spec, key, `cannot be a file: its name ${JSON.stringify(name)} ${fault}`)
}

/** Not JSON.stringify of an object: that would put numeric keys first. */
function toJson(entries: readonly Entry[]): string {
  const members = entries.map(({ name, value }) => `${JSON.stringify(name)}:${jsonOf(value)}`)
  return `{${members.join(',')}}`
}

function toLines(
  entries: readonly Entry[],
  spec: DataFromSpec,
  format: (name: string, text: string) => FormattedLine,
  escapeJson = (json: string) => json,
): string {
  const lines = present(entries).map(({ key, name, value }) => {
    const text = typeof value === 'string' ? value : escapeJson(value.json)
    const formatted = format(name, text)
    if ('fault' in formatted) throw unusable(spec, key, formatted.fault)
    return `${formatted.line}\n`
  })
  return lines.join('')
}

function singleFile({ fileName }: DataFromSpec, text: string): DataFile {
  return { name: fileName ?? '', content: SecretBytes.fromText(text) }
}

function unusable({ call, format }: DataFromSpec, key: string, reason: string): FaultError {
  const setting = `leave it out with dataFrom.exclude, or choose another dataFrom.format than ${format}`
  return new FaultError('key_unusable', { path: call.path, key, reason, setting })
}
