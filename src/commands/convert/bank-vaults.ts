import { convertAnnotations, isBankVaultsName, readAnnotations } from './bank-vaults-annotations.ts'
import { type Environment, readEnvironment } from './bank-vaults-environment.ts'
import { changed } from './comment.ts'
import type { Conversion, Manifests } from './conversion.ts'
import { createDraft, type ImportDraft, isEmpty, takeFileName } from './draft.ts'
import { addComment, remove } from './edit.ts'
import type { Part } from './liquid.ts'
import { objectNameOf } from './names.ts'
import {
  addMount,
  addVolume,
  type Container,
  containersOf,
  removeAnnotations,
  titleOf,
  type Workload,
} from './workload.ts'
import { orphans, wrapCommand } from './wrap-command.ts'

const MOUNT_PATH = '/mnt/secrets'
const TOKEN_FILE = 'vault-token'

/** A container, what it asks of Vault, and the files that give it. */
type Asking = { container: Container; environment: Environment; files: readonly string[] }

/** Bank-Vaults' webhook: references to Vault in the environment of containers. */
export function convertBankVaults({ all, workloads, importName }: Manifests): Conversion {
  const conversion: Conversion = { imports: [], workloads: [], refusals: [] }
  for (const workload of workloads) {
    const annotations = readAnnotations(workload)
    if (annotations.get('mutate') === 'skip') continue
    const read = containersOf(workload).map((container) => ({
      container,
      environment: readEnvironment(container, all, workload.namespace),
    }))
    const faults = read.flatMap(({ environment }) => environment.faults)
    const asks = read.some(({ environment }) => environment.variables.length > 0) || faults.length > 0
    if (!asks && annotations.size === 0) continue
    const draft = createDraft(importName(objectNameOf(workload.name), workload.namespace), workload.namespace)
    const shared = convertAnnotations(workload, draft, annotations)
    const asking = read.map((one) => ({ ...one, files: [...shared, ...environmentFile(draft, one)] }))
    if (isEmpty(draft)) {
      conversion.refusals.push(
        [`${titleOf(workload)}: it has no reference to Vault that could be converted`, ...faults].join('; '),
      )
      continue
    }
    applyTo(workload, draft, asking)
    conversion.imports.push(draft)
    conversion.workloads.push(workload)
  }
  return conversion
}

/** One file of `export NAME=…` lines for each container that has any. */
function environmentFile(
  draft: ImportDraft,
  { container, environment }: Pick<Asking, 'container' | 'environment'>,
): string[] {
  const parts = environment.variables.flatMap(({ name, value }): Part[] =>
    value === 'login' ? [] : [{ text: `export ${name}=` }, ...value.map(quoted), { text: '\n' }],
  )
  if (environment.variables.some(({ value }) => value === 'login')) addToken(draft)
  if (parts.length === 0) return []
  const file = takeFileName(draft, `${container.name}.env`)
  draft.files.push({ name: file.name, parts, encoding: 'utf-8', mode: undefined, notes: file.notes })
  return [file.name]
}

function addToken(draft: ImportDraft): void {
  if (draft.credentials.length > 0) return
  const note = changed('the file always holds a good token; the variable holds the one of the start')
  draft.credentials.push({
    format: 'Token',
    name: draft.fileNames.take(TOKEN_FILE),
    mode: undefined,
    notes: [note],
  })
}

/** Quoted and plain pieces side by side are one word to a shell. */
function quoted(part: Part): Part {
  if ('call' in part) return { ...part, filters: [...part.filters, 'shell_quote'] }
  return 'text' in part ? { text: shellQuote(part.text) } : part
}

function shellQuote(text: string): string {
  return /^[-\w@%+=:,./]*$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

function applyTo(workload: Workload, draft: ImportDraft, asking: readonly Asking[]): void {
  const volume = addVolume(workload, 'secrets', draft.name)
  for (const { container, environment, files } of asking) {
    for (const { path, note } of environment.notes) addComment(workload.document, path, [note])
    const tokens = environment.variables.filter(({ value }) => value === 'login').map(({ name }) => name)
    if (files.length === 0 && tokens.length === 0) continue
    const paths = files.map((file) => `${MOUNT_PATH}/${file}`)
    const notes = orphans(container, environment, paths.at(-1) ?? '')
    wrapCommand(workload, container, { files: paths, tokens, tokenFile: `${MOUNT_PATH}/${TOKEN_FILE}` })
    addComment(workload.document, [...container.path, 'command'], notes)
    // From the last to the first: the places of those before do not move.
    for (const { index } of [...environment.variables].reverse()) {
      if (index !== undefined) remove(workload.document, [...container.path, 'env', index])
    }
    addMount(workload, container, volume, MOUNT_PATH)
  }
  removeAnnotations(workload, isBankVaultsName)
}
