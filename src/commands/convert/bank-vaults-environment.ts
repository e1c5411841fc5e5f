import { noCounterpart, toDo } from './comment.ts'
import type { Path } from './edit.ts'
import { translateGoTemplate } from './go-template.ts'
import { DOLLAR_BRACE } from './go-tokens.ts'
import type { Part } from './liquid.ts'
import { at, listAt, type Manifest, readAt, textAt, textsAt } from './manifest.ts'
import { type VaultCall, vaultCall } from './vault-call.ts'
import type { Container } from './workload.ts'

export type Variable = {
  name: string
  /** 'login': the Vault token. */
  value: readonly Part[] | 'login'
  /** Its index in the container's env; undefined when it comes from an envFrom. */
  index: number | undefined
}

/** The references to Vault in a container's environment. */
export type Environment = {
  variables: Variable[]
  /** With the path that each is about. */
  notes: { path: Path; note: string }[]
  faults: string[]
}

type Found = { name: string; text: string; index: number | undefined; path: Path }

const SHELL_NAME = /^[A-Za-z_]\w*$/

/** @param all manifests, with the Secrets and ConfigMaps that the container refers to */
export function readEnvironment(
  container: Container,
  all: readonly Manifest[],
  namespace: string | undefined,
): Environment {
  const environment: Environment = { variables: [], notes: [], faults: [] }
  const missing = new Set<string>()
  const findData = (kind: string, name: string) => {
    const found = all.find(
      (one) => one.kind === kind && one.name === name && [undefined, namespace].includes(one.namespace),
    )
    if (found === undefined) missing.add(`${kind} ${name}`)
    return found === undefined ? undefined : dataOf(found)
  }
  for (const { name, text, index, path } of [
    ...ownEntries(container, findData),
    ...fromEntries(container, findData),
  ]) {
    const read = readReference(text)
    if (read.kind === 'none') continue
    const fault =
      read.kind === 'fault'
        ? read.fault
        : SHELL_NAME.test(name)
          ? undefined
          : 'a shell cannot export that name'
    if (fault === undefined) {
      environment.variables.push({ name, value: read.kind === 'parts' ? read.parts : 'login', index })
      continue
    }
    environment.faults.push(`${name} of container ${container.name}: ${fault}`)
    const note = noCounterpart(
      `${name}: ${fault}`,
      'have the application read a file that the import renders with a template',
    )
    environment.notes.push({ path, note })
  }
  if (missing.size > 0) {
    const note = toDo(
      `${[...missing].join(', ')} of the environment ${missing.size > 1 ? 'are' : 'is'} not in the input: values that begin with vault: are not converted; add the manifests and convert again`,
    )
    // Not at its env, which may be removed later.
    environment.notes.push({ path: container.path, note })
  }
  return environment
}

type FindData = (kind: string, name: string) => Map<string, string> | undefined

function ownEntries(container: Container, findData: FindData): Found[] {
  return listAt(container.value, 'env').flatMap((entry, index) => {
    const name = textAt(entry, 'name') ?? ''
    const text = textAt(entry, 'value') ?? referenced(entry, findData)
    return text === undefined ? [] : [{ name, text, index, path: [...container.path, 'env', index] }]
  })
}

function referenced(entry: unknown, findData: FindData): string | undefined {
  for (const [field, kind] of [
    ['secretKeyRef', 'Secret'],
    ['configMapKeyRef', 'ConfigMap'],
  ] as const) {
    const name = textAt(entry, 'valueFrom', field, 'name')
    if (name !== undefined) return findData(kind, name)?.get(textAt(entry, 'valueFrom', field, 'key') ?? '')
  }
  return undefined
}

function fromEntries(container: Container, findData: FindData): Found[] {
  const path = [...container.path, 'envFrom']
  return listAt(container.value, 'envFrom').flatMap((entry) => {
    const prefix = textAt(entry, 'prefix') ?? ''
    const [kind, name] = at(entry, 'secretRef')
      ? ['Secret', textAt(entry, 'secretRef', 'name')]
      : ['ConfigMap', textAt(entry, 'configMapRef', 'name')]
    const data = name === undefined ? undefined : findData(kind ?? '', name)
    return [...(data ?? [])].map(([key, text]) => ({ name: prefix + key, text, index: undefined, path }))
  })
}

/** A Secret's data is base64. */
function dataOf(manifest: Manifest): Map<string, string> {
  const value = readAt(manifest, [])
  if (manifest.kind !== 'Secret') return textsAt(value, 'data')
  const decoded = [...textsAt(value, 'data')].map(
    ([key, text]) => [key, Buffer.from(text, 'base64').toString()] as const,
  )
  return new Map([...decoded, ...textsAt(value, 'stringData')])
}

/** A reference to Vault in the value of an environment variable. */
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
  if (/^(>>)?vault:/.test(value)) return value === 'vault:login' ? { kind: 'login' } : parseReference(value)
  const matches = [...value.matchAll(INLINE)]
  if (matches.length === 0) return { kind: 'none' }
  const parts: Part[] = []
  let end = 0
  for (const match of matches) {
    const [all, reference = ''] = match
    const read = parseReference(reference)
    if (read.kind !== 'parts') return read
    if (match.index > end) parts.push({ text: value.slice(end, match.index) })
    parts.push(...read.parts)
    end = match.index + all.length
  }
  if (end < value.length) parts.push({ text: value.slice(end) })
  return { kind: 'parts', parts }
}

function parseReference(reference: string): Reference {
  if (TRANSIT.test(reference)) return fault('the text is encrypted by Transit')
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
    : { fault: 'its version is not a number' }
}

function writeCall(path: string, text: string | undefined): { call: VaultCall } | { fault: string } {
  try {
    const data: unknown = JSON.parse(text ?? '{}')
    const isObject = typeof data === 'object' && data !== null && !Array.isArray(data)
    if (!isObject) return { fault: 'its data is not a JSON object' }
    return vaultCall(path, { method: 'PUT', data: Object.keys(data).length > 0 ? { ...data } : undefined })
  } catch {
    return { fault: 'its data is not JSON' }
  }
}

/** The third part may contain the separator. */
function splitThree(text: string): [string, string | undefined, string | undefined] {
  const [first = '', second, ...rest] = text.split('#')
  return [first, second, rest.length > 0 ? rest.join('#') : undefined]
}

function fault(reason: string): Reference {
  return { kind: 'fault', fault: reason }
}
