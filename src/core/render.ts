import { FaultError } from './errors.ts'
import type { Encoding, FileSpec, ImportSpec } from './import.ts'
import { stringifyJson } from './json.ts'
import type { Json, RenderedFile, SecretData } from './ports.ts'
import { SecretBytes } from './secret.ts'

const MODE_ALONE = 0o644
/** The group may read what root owns, others may not. */
const MODE_WITH_GROUP = 0o640

/**
 * The files that an import asks for, from what Vault held.
 * @param secrets what each path gave: its data, or the fault of reading it
 * @param fsGroup gid of the pod's fsGroup; decides the mode where the import names none
 * @throws FaultError the first in file order: that of the path, key_missing, decode_failed
 */
export function renderFiles(
  spec: ImportSpec,
  secrets: (path: string) => SecretData | FaultError,
  fsGroup: number | undefined,
): RenderedFile[] {
  const plainMode = fsGroup === undefined ? MODE_ALONE : MODE_WITH_GROUP
  return spec.files.flatMap((file) => {
    const value = pickValue(file, secrets(file.path))
    if (value instanceof FaultError) {
      if (mayBeAbsent(spec, file, value)) return []
      throw value
    }
    const mode = file.mode ?? spec.defaultMode ?? plainMode
    return [{ name: file.name, content: toBytes(file, value), mode }]
  })
}

/** A refused read is never taken for an absent secret: it would delete the file when a policy changes. */
function mayBeAbsent(spec: ImportSpec, file: FileSpec, { fault }: FaultError): boolean {
  const isAbsent = fault === 'path_not_found' || fault === 'version_deleted' || fault === 'key_missing'
  return isAbsent && (file.optional || spec.missingPolicy === 'Ignore')
}

/** The value under the file's key. null counts as missing: nobody wants a file that says `null`. */
function pickValue(file: FileSpec, secret: SecretData | FaultError): Exclude<Json, null> | FaultError {
  const where = { path: file.path, key: file.key, file: file.name }
  if (secret instanceof FaultError) return secret.with(where)
  const value = secret.values.get(file.key)
  const known = [...secret.values.keys()]
  if (value === undefined) return new FaultError('key_missing', { ...where, known })
  if (value === null) return new FaultError('key_missing', { ...where, known, reason: 'its value is null' })
  return value
}

function toBytes(file: FileSpec, value: Exclude<Json, null>): SecretBytes {
  const isText = typeof value === 'string'
  if (file.encoding === 'utf-8') return SecretBytes.fromText(isText ? value : stringifyJson(value))
  const bytes = isText ? decoders[file.encoding](value.replaceAll(/\s+/g, '')) : undefined
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
