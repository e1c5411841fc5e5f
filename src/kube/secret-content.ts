import { createHmac } from 'node:crypto'
import { FaultError } from '../core/faults/fault.ts'
import type { SyncedSecret } from '../core/ports/kubernetes.ts'
import { contentFault } from './secret-formats.ts'

// The one file of this folder that reveals synced values: requests to write Secrets hold them.

/** Of all values together, in bytes: the API server's limit. */
const LARGEST = 1024 * 1024
/** In characters: shorter values occur in many messages by chance. */
const SHORTEST_HIDDEN = 4
/** Bounds of the search for values in a message: its characters, and the values and their lines. */
const LONGEST_MESSAGE = 16_384
const MOST_FORMS = 2_000

/** A Secret's content, ready for the API. */
export type SecretContent = {
  /** Base64, by key. */
  data: Readonly<Record<string, string>>
  /** A message, such as one of an admission webhook, without any of the values. */
  hide(message: string): string
}

/** @throws FaultError sync_invalid that names Secret and key, never a value */
export function contentOf(wanted: SyncedSecret): SecretContent {
  const secret = `${wanted.namespace}/${wanted.name}`
  const values = new Map([...wanted.data].map(([key, value]) => [key, value.reveal()]))
  const sizeBytes = [...values.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)
  if (sizeBytes > LARGEST) {
    const reason = `its values have ${sizeBytes} bytes, the API server takes ${LARGEST}`
    throw new FaultError('sync_invalid', { secret, reason, sizeBytes, limitBytes: LARGEST })
  }
  const fault = contentFault(wanted.type, values)
  if (fault !== undefined) throw new FaultError('sync_invalid', { secret, ...fault })
  const data = Object.fromEntries([...values].map(([key, value]) => [key, value.toString('base64')]))
  return {
    data,
    hide: (message) => hideIn(message, values),
  }
}

/** Hides the whole message where the search would take long: a tenant's webhook may have written it. */
function hideIn(message: string, values: ReadonlyMap<string, Buffer>): string {
  if (message.length > LONGEST_MESSAGE) return '[…]'
  const forms = [...values.values()].flatMap(formsOf)
  if (forms.length > MOST_FORMS) return '[…]'
  return forms.reduce((text, form) => text.replaceAll(form, '[…]'), message)
}

/**
 * Equal for equal content of an equal type, and useless without the key: content itself is not stored.
 * @param key random bytes of this process
 */
export function digestOf(wanted: SyncedSecret, key: Buffer): string {
  const digest = createHmac('sha256', key)
  digest.update(JSON.stringify([wanted.type, wanted.data.size]))
  for (const [name, value] of wanted.data) {
    digest.update(JSON.stringify([name, value.byteLength])).update(value.reveal())
  }
  return digest.digest('base64')
}

/** Forms of a value in a message: raw, in JSON, base64, and its lines. Longest first. */
function formsOf(value: Buffer): string[] {
  const text = value.toString('utf8')
  return [text, JSON.stringify(text).slice(1, -1), value.toString('base64'), ...text.split('\n')]
    .map((form) => form.trim())
    .filter(({ length }) => length >= SHORTEST_HIDDEN)
    .sort((one, other) => other.length - one.length)
}
