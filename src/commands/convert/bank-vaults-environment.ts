import { readReference } from './bank-vaults-reference.ts'
import { noCounterpart, toDo } from './comment.ts'
import type { Path } from './edit.ts'
import { type Manifest, readAt } from './input.ts'
import type { Part } from './liquid.ts'
import { at, listAt, textAt, textsAt } from './value.ts'
import type { Container } from './workload.ts'

export type Variable = {
  name: string
  /** 'login': the Vault token. */
  value: readonly Part[] | 'login'
  /** Its place in the container's env; undefined when it comes from an envFrom. */
  index: number | undefined
}

/** What a container's environment asks of Vault. */
export type Environment = {
  variables: Variable[]
  /** By the place that they are about. */
  notes: { path: Path; note: string }[]
  faults: string[]
}

type Found = { name: string; text: string; index: number | undefined; path: Path }

const SHELL_NAME = /^[A-Za-z_]\w*$/

/** @param all manifests in which Secrets and ConfigMaps that the container names are looked for */
export function readEnvironment(
  container: Container,
  all: readonly Manifest[],
  namespace: string | undefined,
): Environment {
  const environment: Environment = { variables: [], notes: [], faults: [] }
  const missing = new Set<string>()
  const lookUp = (kind: string, name: string) => {
    const found = all.find(
      (one) => one.kind === kind && one.name === name && [undefined, namespace].includes(one.namespace),
    )
    if (found === undefined) missing.add(`${kind} ${name}`)
    return found === undefined ? undefined : dataOf(found)
  }
  for (const { name, text, index, path } of [
    ...ownEntries(container, lookUp),
    ...fromEntries(container, lookUp),
  ]) {
    const read = readReference(text)
    if (read.kind === 'none') continue
    const fault =
      read.kind === 'fault' ? read.fault : SHELL_NAME.test(name) ? undefined : 'no shell can export that name'
    if (fault === undefined) {
      environment.variables.push({ name, value: read.kind === 'parts' ? read.parts : 'login', index })
      continue
    }
    environment.faults.push(`${name} of container ${container.name}: ${fault}`)
    const note = noCounterpart(
      `${name}, ${fault}`,
      'have the application read a file that a template of the import makes',
    )
    environment.notes.push({ path, note })
  }
  if (missing.size > 0) {
    const note = toDo(
      `${[...missing].join(', ')} of the environment ${missing.size > 1 ? 'are' : 'is'} not in the input: values that begin with vault: are not converted, add the manifests and convert again`,
    )
    // Its env may be gone when all is done.
    environment.notes.push({ path: container.path, note })
  }
  return environment
}

type LookUp = (kind: string, name: string) => Map<string, string> | undefined

function ownEntries(container: Container, lookUp: LookUp): Found[] {
  return listAt(container.value, 'env').flatMap((entry, index) => {
    const name = textAt(entry, 'name') ?? ''
    const text = textAt(entry, 'value') ?? referenced(entry, lookUp)
    return text === undefined ? [] : [{ name, text, index, path: [...container.path, 'env', index] }]
  })
}

function referenced(entry: unknown, lookUp: LookUp): string | undefined {
  for (const [field, kind] of [
    ['secretKeyRef', 'Secret'],
    ['configMapKeyRef', 'ConfigMap'],
  ] as const) {
    const name = textAt(entry, 'valueFrom', field, 'name')
    if (name !== undefined) return lookUp(kind, name)?.get(textAt(entry, 'valueFrom', field, 'key') ?? '')
  }
  return undefined
}

function fromEntries(container: Container, lookUp: LookUp): Found[] {
  const path = [...container.path, 'envFrom']
  return listAt(container.value, 'envFrom').flatMap((entry) => {
    const prefix = textAt(entry, 'prefix') ?? ''
    const [kind, name] = at(entry, 'secretRef')
      ? ['Secret', textAt(entry, 'secretRef', 'name')]
      : ['ConfigMap', textAt(entry, 'configMapRef', 'name')]
    const data = name === undefined ? undefined : lookUp(kind ?? '', name)
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
