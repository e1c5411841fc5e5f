import type { Facts } from '../faults/facts.ts'
import { FaultError, isAbsence } from '../faults/fault.ts'
import type { Call } from '../imports/calls.ts'
import type { DataFromSpec, Encoding, FileSpec, ImportSpec } from '../imports/import.ts'
import { isNull, textOf, type Value } from '../json/value.ts'
import type { SecretData } from '../ports/vault.ts'
import type { RenderedFile } from '../ports/volume.ts'
import { SecretBytes } from '../secret.ts'
import type { Answers } from './answers.ts'
import { credentialFile } from './credential.ts'
import { type DataFile, renderDataFrom } from './data-from.ts'
import type { SizeLimit } from './size-limit.ts'
import { createTemplates, type Templates } from './template.ts'
import { plainValues, type Scope, templateScope } from './template-scope.ts'

const MODE_WITHOUT_GROUP = 0o644
/** With an fsGroup: the group may read root's files, others may not. */
const MODE_WITH_GROUP = 0o640

export type RenderOptions = {
  /** Default: no limit. */
  sizeLimit?: SizeLimit
  templates?: Templates
  /** Called before each step whose duration the import's author controls. */
  onStep?: (step: string) => void
}

/**
 * Renders the files of an import from Vault's values. Templates, patterns and formats may run for any length of time:
 * imports that use them are rendered in the sandbox, which can be stopped.
 * @param fsGroup gid of the pod's fsGroup; decides the mode of files for which the import sets none
 * @throws FaultError the first in file order: the fault of the call, key_missing, decode_failed, template_failed,
 * key_unusable, name_taken, credential_refused, volume_full, import_too_large
 */
export function renderFiles(
  spec: ImportSpec,
  answers: Answers,
  fsGroup: number | undefined,
  { sizeLimit, templates = createTemplates(), onStep = () => undefined }: RenderOptions = {},
): RenderedFile[] {
  const plainOf = memoize(plainValues)
  const plainMode = spec.defaultMode ?? (fsGroup === undefined ? MODE_WITHOUT_GROUP : MODE_WITH_GROUP)
  const rendered: RenderedFile[] = []
  const origins = new Map<string, string>()
  const add = (origin: string, file: RenderedFile) => {
    const other = origins.get(file.name)
    if (other !== undefined) {
      throw new FaultError('name_taken', { file: file.name, reason: `one of ${other}, one of ${origin}` })
    }
    sizeLimit?.add(file.content.byteLength)
    origins.set(file.name, origin)
    rendered.push(file)
  }
  const templated = (file: FileSpec) => {
    onStep(`the template of file "${file.name}"`)
    return templateContent(file, answers, templates, plainOf)
  }
  for (const file of spec.files) {
    const content = tolerating(file.optional || spec.missingPolicy === 'Ignore', () =>
      file.template === undefined ? keyContent(file, answers) : templated(file),
    )
    if (content !== undefined) add('spec.files', { name: file.name, content, mode: file.mode ?? plainMode })
  }
  for (const entry of spec.dataFrom) {
    onStep(`dataFrom of "${entry.call.path}"`)
    const files = tolerating(spec.missingPolicy === 'Ignore', () => dataFiles(entry, spec, answers))
    for (const file of files ?? []) add(`"${entry.call.path}"`, { ...file, mode: plainMode })
  }
  for (const credential of spec.credentials) {
    const content = credentialFile(credential, answers)
    add('spec.credentials', { name: credential.name, content, mode: credential.mode ?? plainMode })
  }
  return rendered
}

/** Many templates share an answer: its JSON is parsed once. */
function memoize<Key extends object, T>(make: (key: Key) => T): (key: Key) => T {
  const cache = new Map<Key, T>()
  return (key) => {
    const value = cache.get(key) ?? make(key)
    cache.set(key, value)
    return value
  }
}

/** A denied read never counts as an absent secret: a policy change would delete the file. */
function tolerating<T>(mayBeAbsent: boolean, render: () => T): T | undefined {
  try {
    return render()
  } catch (error) {
    if (mayBeAbsent && error instanceof FaultError && (isAbsence(error) || error.fault === 'key_missing'))
      return undefined
    throw error
  }
}

function dataOf(call: Call, answers: Answers, where: Facts): SecretData {
  const data = answers.of(call.key)
  if (data instanceof FaultError) throw data.with(where)
  return data
}

function keyContent(file: FileSpec, answers: Answers): SecretBytes {
  const key = file.key ?? ''
  const where = { path: file.call.path, key, file: file.name }
  return toBytes(file, pickValue(dataOf(file.call, answers, where), key, where))
}

/** The value of a key. null counts as missing: a file that says `null` is useless. */
function pickValue({ values }: SecretData, key: string, where: Facts): Value {
  const value = values.get(key)
  const known = [...values.keys()]
  if (value === undefined) throw new FaultError('key_missing', { ...where, known })
  if (isNull(value)) throw new FaultError('key_missing', { ...where, known, reason: 'its value is null' })
  return value
}

function templateContent(
  file: FileSpec,
  answers: Answers,
  templates: Templates,
  plainOf: (values: SecretData['values']) => Scope,
): SecretBytes {
  const read = (call: Call) => dataOf(call, answers, { path: call.path, file: file.name }).values
  const named = file.named.map(({ name, call }) => [name, read(call)] as const)
  const scope = templateScope(read(file.call), new Map(named), plainOf)
  return SecretBytes.fromText(templates.render(file.name, file.template ?? '', scope, file.sourceNames))
}

function dataFiles(entry: DataFromSpec, { name, namespace }: ImportSpec, answers: Answers): DataFile[] {
  const data = dataOf(entry.call, answers, { path: entry.call.path })
  try {
    return renderDataFrom(entry, data)
  } catch (error) {
    throw error instanceof FaultError ? error.with({ importName: name, podNamespace: namespace }) : error
  }
}

function toBytes(file: FileSpec, value: Value): SecretBytes {
  if (file.encoding === 'utf-8') return SecretBytes.fromText(textOf(value))
  const bytes = typeof value === 'string' ? decoders[file.encoding](value.replaceAll(/\s+/g, '')) : undefined
  if (bytes) return new SecretBytes(bytes)
  // Only the file's name: anything more would reveal content.
  throw new FaultError('decode_failed', { file: file.name, wanted: file.encoding })
}

const decoders = {
  base64: decodeBase64,
  hex: decodeHex,
} satisfies Record<Exclude<Encoding, 'utf-8'>, (text: string) => Buffer | undefined>

/** Standard alphabet, padding optional. Buffer.from would ignore invalid characters. */
function decodeBase64(text: string): Buffer | undefined {
  const [, digits = '', padding = ''] = /^([A-Za-z0-9+/]*)(={0,2})$/.exec(text) ?? [text, '', '?']
  if (padding === '?' || digits.length % 4 === 1) return undefined
  if (padding !== '' && (digits.length + padding.length) % 4 !== 0) return undefined
  return Buffer.from(digits, 'base64')
}

function decodeHex(text: string): Buffer | undefined {
  return text.length % 2 === 0 && /^[0-9a-fA-F]*$/.test(text) ? Buffer.from(text, 'hex') : undefined
}
