import { translateGoTemplate } from './go-template.ts'
import { DOLLAR_BRACE } from './go-tokens.ts'
import type { Part } from './liquid.ts'
import { type VaultCall, vaultCall } from './vault-call.ts'

/** What an environment variable's value asks of Bank-Vaults. */
export type Reference =
  | { kind: 'none' }
  /** `vault:login`: the Vault token itself. */
  | { kind: 'login' }
  | { kind: 'parts'; parts: Part[] }
  | { kind: 'fault'; fault: string }

const INLINE = /\$\{((?:>>)?vault:.*?)\}/g
const TRANSIT = /^vault:v\d+:/

/** Reads `vault:PATH#KEY`, `vault:PATH#KEY#VERSION`, `>>vault:PATH#KEY#JSON` and `text ${vault:…} text`. */
export function readReference(value: string): Reference {
  if (/^(>>)?vault:/.test(value)) return value === 'vault:login' ? { kind: 'login' } : whole(value)
  const matches = [...value.matchAll(INLINE)]
  if (matches.length === 0) return { kind: 'none' }
  const parts: Part[] = []
  let end = 0
  for (const match of matches) {
    const [all, reference = ''] = match
    const read = whole(reference)
    if (read.kind !== 'parts') return read
    if (match.index > end) parts.push({ text: value.slice(end, match.index) })
    parts.push(...read.parts)
    end = match.index + all.length
  }
  if (end < value.length) parts.push({ text: value.slice(end) })
  return { kind: 'parts', parts }
}

function whole(reference: string): Reference {
  if (TRANSIT.test(reference)) return fault('a text encrypted by Transit')
  const isWrite = reference.startsWith('>>')
  const [path = '', key, last] = splitThree(reference.replace(/^(>>)?vault:/, ''))
  if (!key) return fault('it names no key')
  const call = isWrite ? writeCall(path, last) : readCall(path, last)
  if ('fault' in call) return fault(call.fault)
  if (!key.includes('${')) return { kind: 'parts', parts: [{ call: call.call, keys: [key], filters: [] }] }
  const translated = translateGoTemplate(key, DOLLAR_BRACE, call.call)
  return 'fault' in translated ? fault(translated.fault) : { kind: 'parts', parts: translated.parts }
}

function readCall(path: string, version: string | undefined): { call: VaultCall } | { fault: string } {
  if (version === undefined) return vaultCall(path)
  const isNumber = /^\d+$/.test(version)
  return isNumber
    ? vaultCall(path, { version: Number(version) || undefined })
    : { fault: 'its version is no number' }
}

function writeCall(path: string, text: string | undefined): { call: VaultCall } | { fault: string } {
  try {
    const data: unknown = JSON.parse(text ?? '{}')
    const isObject = typeof data === 'object' && data !== null && !Array.isArray(data)
    if (!isObject) return { fault: 'its data is no JSON object' }
    return vaultCall(path, { method: 'PUT', data: Object.keys(data).length > 0 ? { ...data } : undefined })
  } catch {
    return { fault: 'its data is no JSON' }
  }
}

/** The third part may have more of the separator in it. */
function splitThree(text: string): [string, string | undefined, string | undefined] {
  const [first = '', second, ...rest] = text.split('#')
  return [first, second, rest.length > 0 ? rest.join('#') : undefined]
}

function fault(words: string): Reference {
  return { kind: 'fault', fault: words }
}
