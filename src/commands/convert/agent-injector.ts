import {
  type AgentAnnotations,
  type AgentSecret,
  convertAgentAccess,
  isAgentAnnotation,
  readAgentAnnotations,
  secretsOf,
} from './agent-annotations.ts'
import { convertAgentSecret } from './agent-secret.ts'
import { changed, toDo } from './comment.ts'
import type { Conversion, Manifests } from './conversion.ts'
import { createDraft, type ImportDraft, isEmpty } from './draft.ts'
import { addComment } from './edit.ts'
import { isTrue, listAt, textAt } from './manifest.ts'
import { objectNameOf } from './names.ts'
import {
  addMount,
  addVolume,
  annotationsOf,
  type Container,
  containersOf,
  removeAnnotations,
  titleOf,
  type Workload,
} from './workload.ts'

/** Files of one folder are one import and one volume. */
type Folder = { path: string; secrets: AgentSecret[]; hasToken: boolean }

/** Vault Agent's injector, and OpenBao's: annotations that ask for a sidecar which renders templates. */
export function convertAgentInjector({ workloads, importName }: Manifests): Conversion {
  const conversion: Conversion = { imports: [], workloads: [], refusals: [] }
  for (const workload of workloads) {
    const annotations = readAgentAnnotations(workload)
    if (annotations === undefined) continue
    if (annotationsOf(workload).get('vault.hashicorp.com/agent-inject-status') === 'injected') {
      conversion.refusals.push(
        `${titleOf(workload)}: the agents are in it already; convert the Deployment or what else makes the pod`,
      )
      continue
    }
    const made = foldersOf(annotations).map((folder, index) => {
      const wanted = index === 0 ? workload.name : `${workload.name}-${folder.path.split('/').at(-1)}`
      const draft = createDraft(importName(objectNameOf(wanted), workload.namespace), workload.namespace)
      writeDraft(draft, folder, annotations)
      return { folder, draft }
    })
    // What is true of all of them is told once.
    const [first, ...others] = made
    for (const { draft } of others)
      draft.notes = draft.notes.filter((note) => !first?.draft.notes.includes(note))
    const filled = made.filter(({ draft }) => !isEmpty(draft))
    const lost = made.filter(({ draft }) => isEmpty(draft)).flatMap(({ draft }) => draft.notes)
    if (filled.length === 0) {
      const reasons = made.flatMap(({ draft }) => draft.notes)
      conversion.refusals.push(
        [`${titleOf(workload)}: none of its files could be converted`, ...reasons].join('; '),
      )
      continue
    }
    const ours = filled.map(({ folder }) => folder.path)
    for (const { folder, draft } of filled) mountFolder(workload, annotations, folder, draft, ours)
    addComment(workload.document, [...workload.pod, 'spec'], lost)
    removeAnnotations(workload, isAgentAnnotation)
    conversion.imports.push(...filled.map(({ draft }) => draft))
    conversion.workloads.push(workload)
  }
  return conversion
}

/** The folder of the secrets comes first, then those that agent-inject-file and secret-volume-path-NAME name. */
function foldersOf(annotations: AgentAnnotations): Folder[] {
  const folders = new Map<string, Folder>()
  const at = (path: string): Folder => {
    const folder = folders.get(path) ?? { path, secrets: [], hasToken: false }
    folders.set(path, folder)
    return folder
  }
  if (isTrue(annotations.values.get('agent-inject-token'))) at(plain(annotations.folder)).hasToken = true
  for (const secret of secretsOf(annotations)) {
    const below = secret.file.split('/').slice(0, -1).join('/')
    at(plain(`${secret.folder}/${below}`)).secrets.push(secret)
  }
  const main = folders.get(plain(annotations.folder))
  const others = [...folders.values()].filter((folder) => folder !== main)
  return main === undefined ? others : [main, ...others]
}

function plain(path: string): string {
  return `/${path.split('/').filter(Boolean).join('/')}`
}

function writeDraft(draft: ImportDraft, { secrets, hasToken }: Folder, annotations: AgentAnnotations): void {
  convertAgentAccess(draft, annotations)
  const isJson = annotations.values.get('agent-inject-default-template') === 'json'
  if (hasToken)
    draft.credentials.push({
      format: 'Token',
      name: draft.fileNames.take('token'),
      mode: undefined,
      notes: [],
    })
  for (const secret of secrets) convertAgentSecret(draft, secret, isJson ? 'json' : 'map')
}

function mountFolder(
  workload: Workload,
  { values }: AgentAnnotations,
  { path }: Folder,
  draft: ImportDraft,
  ours: readonly string[],
): void {
  const volume = addVolume(workload, 'vault-secrets', draft.name)
  const named = values
    .get('agent-inject-containers')
    ?.split(',')
    .map((name) => name.trim())
  const withInit = isTrue(values.get('agent-init-first'))
  for (const container of containersOf(workload)) {
    const isWanted = container.isInit ? withInit : (named?.includes(container.name) ?? true)
    if (isWanted) mountIn(workload, container, { volume, path, ours })
  }
}

function mountIn(
  workload: Workload,
  container: Container,
  { volume, path, ours }: { volume: string; path: string; ours: readonly string[] },
): void {
  const { document } = workload
  const mountsPath = [...container.path, 'volumeMounts']
  const mounts = listAt(container.value, 'volumeMounts').map((mount) =>
    plain(textAt(mount, 'mountPath') ?? '/'),
  )
  if (mounts.includes(path)) {
    const note = toDo(`something is mounted at ${path} already: mount volume ${volume} there instead`)
    addComment(document, mountsPath, [note])
    return
  }
  const around = mounts.find((mount) => mount !== '/' && path.startsWith(`${mount}/`))
  const isInOurs = around !== undefined && ours.includes(around)
  // Nothing can make the folder in a volume that is read-only: the container would not start.
  const place = isInOurs ? `${around}-${path.slice(around.length + 1).replaceAll('/', '-')}` : path
  addMount(workload, container, volume, place)
  if (around === undefined) return
  const note = isInOurs
    ? changed(
        `the files of ${path} are in ${place} now, for no volume can stand inside of a read-only one: have the application read them there`,
      )
    : toDo(
        `see that the volume at ${around} is not read-only, or the container cannot start with another inside of it`,
      )
  addComment(document, [...mountsPath, mounts.length], [note])
}
