import { isSeq, Scalar } from 'yaml'
import { convertAnnotations, isBankVaultsName, readAnnotations } from './bank-vaults-annotations.ts'
import { type Environment, readEnvironment } from './bank-vaults-environment.ts'
import { changed, toDo } from './comment.ts'
import type { Conversion, Manifests } from './conversion.ts'
import { createDraft, type ImportDraft, isEmpty, takeFileName } from './draft.ts'
import { addComment, remove, setMember } from './edit.ts'
import type { Part } from './liquid.ts'
import { at, listAt, textAt } from './manifest.ts'
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

const MOUNT_PATH = '/mnt/secrets'
const TOKEN_FILE = 'vault-token'

/** A container, its references to Vault, and the files that replace them. */
type ConvertedContainer = { container: Container; environment: Environment; files: readonly string[] }

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
    const hasReferences =
      read.some(({ environment }) => environment.variables.length > 0) || faults.length > 0
    if (!hasReferences && annotations.size === 0) continue
    const draft = createDraft(importName(objectNameOf(workload.name), workload.namespace), workload.namespace)
    const shared = convertAnnotations(workload, draft, annotations)
    const converted = read.map((one) => ({ ...one, files: [...shared, ...environmentFile(draft, one)] }))
    if (isEmpty(draft)) {
      conversion.refusals.push(
        [`${titleOf(workload)}: it has no reference to Vault that could be converted`, ...faults].join('; '),
      )
      continue
    }
    applyTo(workload, draft, converted)
    conversion.imports.push(draft)
    conversion.workloads.push(workload)
  }
  return conversion
}

/** One file of `export NAME=…` lines for a container with references. */
function environmentFile(
  draft: ImportDraft,
  { container, environment }: Pick<ConvertedContainer, 'container' | 'environment'>,
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
  const note = changed('the file always holds a valid token; the variable keeps the one from the start')
  draft.credentials.push({
    format: 'Token',
    name: draft.fileNames.take(TOKEN_FILE),
    mode: undefined,
    notes: [note],
  })
}

/** A shell joins adjacent quoted and plain pieces to one word. */
function quoted(part: Part): Part {
  if ('call' in part) return { ...part, filters: [...part.filters, 'shell_quote'] }
  return 'text' in part ? { text: shellQuote(part.text) } : part
}

function shellQuote(text: string): string {
  return /^[-\w@%+=:,./]*$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

function applyTo(workload: Workload, draft: ImportDraft, converted: readonly ConvertedContainer[]): void {
  const volume = addVolume(workload, 'secrets', draft.name)
  for (const { container, environment, files } of converted) {
    for (const { path, note } of environment.notes) addComment(workload.document, path, [note])
    const tokens = environment.variables.filter(({ value }) => value === 'login').map(({ name }) => name)
    if (files.length === 0 && tokens.length === 0) continue
    const paths = files.map((file) => `${MOUNT_PATH}/${file}`)
    const notes = noteLostVariables(container, environment, paths.at(-1) ?? '')
    wrapCommand(workload, container, { files: paths, tokens, tokenFile: `${MOUNT_PATH}/${TOKEN_FILE}` })
    addComment(workload.document, [...container.path, 'command'], notes)
    // From last to first, so that the earlier indexes stay valid.
    for (const { index } of [...environment.variables].reverse()) {
      if (index !== undefined) remove(workload.document, [...container.path, 'env', index])
    }
    addMount(workload, container, volume, MOUNT_PATH)
  }
  removeAnnotations(workload, isBankVaultsName)
}

/** The steps of the shell before it executes the container's program. */
type Preparation = {
  /** Files with `export NAME=…` lines. */
  files: readonly string[]
  /** Variables that hold the Vault token. */
  tokens: readonly string[]
  tokenFile: string
}

const PLACEHOLDER = 'IMAGE-ENTRYPOINT'

/**
 * Puts a shell before the command. Command and args are passed to it as arguments: quoting them in the script would be
 * error-prone, and would break kubelet's expansion of $(NAME).
 */
function wrapCommand(
  workload: Workload,
  container: Container,
  { files, tokens, tokenFile }: Preparation,
): void {
  const { document } = workload
  const path = [...container.path, 'command']
  const steps = [
    ...files.map((file) => `. ${file}`),
    ...tokens.map((name) => `export ${name}="$(cat ${tokenFile})"`),
    'exec "$@"',
  ]
  const script = new Scalar(steps.join('; '))
  // Quoted for readability: it has spaces, dots and dollar signs.
  script.type = 'QUOTE_SINGLE'
  const shell = ['sh', '-c', script, 'sh']
  const command = listAt(container.value, 'command')
  const notes = [
    changed('sh, which the image must contain, sets the variables once, when the container starts'),
  ]
  if (command.length === 0) {
    const missing = listAt(container.value, 'args').length > 0 ? 'ENTRYPOINT' : 'ENTRYPOINT and CMD'
    notes.push(
      toDo(
        `replace ${PLACEHOLDER} with the image's ${missing}, since the container sets no command; docker image inspect shows ${missing.length > 10 ? 'them' : 'it'}`,
      ),
    )
  }
  const commandNode = document.getIn(path, true)
  if (command.length > 0 && isSeq(commandNode))
    commandNode.items.unshift(...shell.map((word) => document.createNode(word)))
  else
    setMember(document, container.path, 'command', document.createNode([...shell, PLACEHOLDER]), [
      'image',
      'name',
    ])
  addComment(document, path, notes)
}

/** Notes on uses of variables that are no longer in the container's environment. */
function noteLostVariables(container: Container, { variables }: Environment, file: string): string[] {
  const gone = variables.filter(({ index }) => index !== undefined).map(({ name }) => name)
  const rest = listAt(container.value, 'env').filter((entry) => !gone.includes(textAt(entry, 'name') ?? ''))
  const texts = [
    ...listAt(container.value, 'command'),
    ...listAt(container.value, 'args'),
    ...rest.map((entry) => textAt(entry, 'value')),
  ].filter((text) => typeof text === 'string')
  const used = gone.filter((name) => texts.some((text) => text.includes(`$(${name})`)))
  const probes = ['livenessProbe', 'readinessProbe', 'startupProbe'].filter((name) =>
    at(container.value, name, 'exec'),
  )
  return [
    ...used.map((name) =>
      toDo(`kubelet can no longer expand $(${name}): have a shell expand "$${name}" there`),
    ),
    ...(probes.length > 0 && gone.length > 0
      ? [
          toDo(
            `the command of ${probes.join(' and ')} does not get the variables: have it load ${file} first`,
          ),
        ]
      : []),
  ]
}
