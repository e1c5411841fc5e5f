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

const MODE_ALONE = 0o644
/** The group may read what root owns, others may not. */
const MODE_WITH_GROUP = 0o640

/** In what the files are made. */
export type RenderOptions = {
  /** Default: as much as there is. */
  sizeLimit?: SizeLimit
  templates?: Templates
  /** Told before each step that a tenant's words could make long. */
  onStep?: (what: string) => void
}

/**
 * The files that an import asks for, from what Vault held. Templates, patterns and formats may take any time: where an
 * import has some, it is rendered where it can be stopped.
 * @param fsGroup gid of the pod's fsGroup; decides the mode where the import names none
 * @throws FaultError the first in file order: that of the path, key_missing, decode_failed, template_failed,
 * key_unusable, name_taken, credential_refused, volume_full, import_too_large
 */
export function renderFiles(
  spec: ImportSpec,
  answers: Answers,
  fsGroup: number | undefined,
  { sizeLimit, templates = createTemplates(), onStep = () => undefined }: RenderOptions = {},
): RenderedFile[] {
  const plainOf = remember(plainValues)
  const plainMode = spec.defaultMode ?? (fsGroup === undefined ? MODE_ALONE : MODE_WITH_GROUP)
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

/** Equal answers serve many templates: their JSON is parsed once. */
function remember<Key extends object, T>(make: (key: Key) => T): (key: Key) => T {
  const made = new Map<Key, T>()
  return (key) => {
    const one = made.get(key) ?? make(key)
    made.set(key, one)
    return one
  }
}

/** A refused read is never taken for an absent secret: it would delete the file when a policy changes. */
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

/** The value under a key. null counts as missing: nobody wants a file that says `null`. */
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
  // The file's name only: whatever else could be said would tell of the content.
  throw new FaultError('decode_failed', { file: file.name, wanted: file.encoding })
}

const decoders = {
  base64: decodeBase64,
  hex: decodeHex,
} satisfies Record<Exclude<Encoding, 'utf-8'>, (text: string) => Buffer | undefined>

/** Standard alphabet, padded or not. Buffer.from alone would skip over whatever it does not know. */
function decodeBase64(text: string): Buffer | undefined {
  const [, digits = '', padding = ''] = /^([A-Za-z0-9+/]*)(={0,2})$/.exec(text) ?? [text, '', '?']
  if (padding === '?' || digits.length % 4 === 1) return undefined
  if (padding !== '' && (digits.length + padding.length) % 4 !== 0) return undefined
  return Buffer.from(digits, 'base64')
}

function decodeHex(text: string): Buffer | undefined {
  return text.length % 2 === 0 && /^[0-9a-fA-F]*$/.test(text) ? Buffer.from(text, 'hex') : undefined
}
