import { parseMode } from '../../core/imports/file-mode.ts'
import type { AgentSecret } from './agent-annotations.ts'
import { changed, noCounterpart, toDo, withOriginal } from './comment.ts'
import { type ImportDraft, takeFileName } from './draft.ts'
import { translateGoTemplate } from './go-template.ts'
import { BRACES } from './go-tokens.ts'
import { hasDataSegment, isPlain, type VaultCall, vaultCall } from './vault-call.ts'

/** The agent's default template `map` writes a line for each key. */
const MAP_BODY = [
  { loop: 'key', filters: [] },
  { text: ': ' },
  { loop: 'value', filters: [] },
  { text: '\n' },
] as const

/**
 * Adds the file of one agent-inject-secret.
 * @param defaultTemplate the agent's template for secrets without one
 */
export function convertAgentSecret(
  draft: ImportDraft,
  secret: AgentSecret,
  defaultTemplate: 'map' | 'json',
): void {
  const wanted = secret.file.split('/').at(-1) ?? secret.name
  if (secret.template !== undefined) {
    convertTemplate(draft, secret, wanted, secret.template)
    return
  }
  if (secret.templateFile !== undefined) {
    const what = `the template of ${wanted} is the file ${secret.templateFile} in the agent's container`
    draft.notes.push(noCounterpart(what, 'translate it to Liquid and write it as the template of a file'))
    return
  }
  const called = vaultCall(secret.path ?? '')
  if ('fault' in called) {
    draft.notes.push(noCounterpart(`file ${wanted}: ${called.fault}`, 'rename the path in Vault'))
    return
  }
  if (defaultTemplate === 'json') convertJson(draft, secret, wanted, called.call)
  else convertMap(draft, secret, wanted, called.call)
}

function convertTemplate(draft: ImportDraft, secret: AgentSecret, wanted: string, template: string): void {
  const translated = translateGoTemplate(template, BRACES)
  if ('fault' in translated) {
    const note = noCounterpart(
      `the template of ${wanted}: ${translated.fault}`,
      'write it in Liquid as the template of a file; the original follows',
    )
    draft.notes.push(withOriginal(note, template))
    return
  }
  const { parts, notes } = translated
  if (!parts.some((part) => !('text' in part))) {
    const note = noCounterpart(
      `the template of ${wanted}: it reads nothing from Vault`,
      'keep its text in a ConfigMap; the text follows',
    )
    draft.notes.push(withOriginal(note, template))
    return
  }
  const file = startFile(draft, secret, wanted)
  draft.files.push({ ...file, parts, encoding: 'utf-8', notes: [...file.notes, ...notes] })
}

function convertJson(draft: ImportDraft, secret: AgentSecret, wanted: string, call: VaultCall): void {
  const { name, mode, notes } = startFile(draft, secret, wanted)
  const changes = hasDataSegment(call.path)
    ? [changed('the file was {"data":…,"metadata":…} of KV v2; now it holds only the keys and values')]
    : []
  if (isPlain(call) && mode === undefined) {
    draft.dataFrom.push({ path: call.path, format: 'JSON', fileName: name, notes: [...notes, ...changes] })
    return
  }
  draft.files.push({
    name,
    mode,
    parts: [{ call, keys: [], filters: ['json'] }, { text: '\n' }],
    encoding: 'utf-8',
    notes: [...notes, ...changes],
  })
}

/** The same lines as before, except for KV v2, where the agent printed Go's `data: map[…]`. */
function convertMap(draft: ImportDraft, secret: AgentSecret, wanted: string, call: VaultCall): void {
  const { name, mode, notes } = startFile(draft, secret, wanted)
  const change = hasDataSegment(call.path)
    ? changed(
        "the file was the agent's default, data: map[…] and metadata: map[…]; now it has a line KEY: VALUE for each key. dataFrom can make it JSON, Dotenv or Properties",
      )
    : changed(
        "the agent's default template, written out: a line KEY: VALUE for each key. dataFrom can make it JSON, Dotenv or Properties",
      )
  draft.files.push({
    name,
    mode,
    parts: [{ each: call, keys: [], body: MAP_BODY }],
    encoding: 'utf-8',
    notes: [...notes, change],
  })
}

function startFile(draft: ImportDraft, { mode, command }: AgentSecret, wanted: string) {
  const { name, notes } = takeFileName(draft, wanted)
  const parsed = mode === undefined ? undefined : parseMode(/^0/.test(mode) ? mode : `0${mode}`)
  if (parsed && 'fault' in parsed) notes.push(toDo(`agent-inject-perms ${parsed.fault}`))
  if (command !== undefined) {
    notes.push(
      noCounterpart(
        `agent-inject-command ${JSON.stringify(command)}`,
        'have the application watch the file; docs/app-teams/watching-files.md shows how',
      ),
    )
  }
  return { name, mode: parsed && 'mode' in parsed ? parsed.mode : undefined, notes }
}
