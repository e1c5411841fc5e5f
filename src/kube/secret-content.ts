import { createHmac } from 'node:crypto'
import { FaultError } from '../core/faults/fault.ts'
import type { SyncedSecret } from '../core/ports/kubernetes.ts'
import { contentFault } from './secret-formats.ts'

// The one file of this folder that reveals what files hold: a request to write a Secret is made of it.

/** Of all values together, in bytes: the API server takes no more. */
const LARGEST = 1024 * 1024
/** Shorter texts stand in half of all messages by chance, in characters. */
const SHORTEST_HIDDEN = 4
/** Characters of foreign words in which values are looked for, and values with their lines that are looked for. */
const LONGEST_WORDS = 16_384
const MOST_FORMS = 2_000

/** What a Secret must hold, ready for the API. */
export type SecretContent = {
  /** Base64, by key. */
  data: Readonly<Record<string, string>>
  /** Foreign words, such as those of an admission webhook, without any of the values. */
  hide(words: string): string
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
    hide: (words) => hideIn(words, values),
  }
}

/** All of them where looking for each value would take long: the words are those of whoever writes a webhook. */
function hideIn(words: string, values: ReadonlyMap<string, Buffer>): string {
  if (words.length > LONGEST_WORDS) return '[…]'
  const forms = [...values.values()].flatMap(formsOf)
  if (forms.length > MOST_FORMS) return '[…]'
  return forms.reduce((text, form) => text.replaceAll(form, '[…]'), words)
}

/**
 * Equal for equal content of an equal type, and of no use to who has not the key: content itself is not kept.
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

/** A value as it may stand in a message: as it is, as JSON has it, as the API has it, and its lines. Longest first. */
function formsOf(value: Buffer): string[] {
  const text = value.toString('utf8')
  return [text, JSON.stringify(text).slice(1, -1), value.toString('base64'), ...text.split('\n')]
    .map((form) => form.trim())
    .filter(({ length }) => length >= SHORTEST_HIDDEN)
    .sort((one, other) => other.length - one.length)
}
