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

/** The files of one folder become one import and one volume. */
type Folder = { path: string; secrets: AgentSecret[]; hasToken: boolean }

/** Vault Agent's injector, and OpenBao's: annotations that configure a sidecar to render templates. */
export function convertAgentInjector({ workloads, importName }: Manifests): Conversion {
  const conversion: Conversion = { imports: [], workloads: [], refusals: [] }
  for (const workload of workloads) {
    const annotations = readAgentAnnotations(workload)
    if (annotations === undefined) continue
    if (annotationsOf(workload).get('vault.hashicorp.com/agent-inject-status') === 'injected') {
      conversion.refusals.push(
        `${titleOf(workload)}: the agent is already injected; convert the Deployment or other workload that creates the pod`,
      )
      continue
    }
    const drafts = foldersOf(annotations).map((folder, index) => {
      const wanted = index === 0 ? workload.name : `${workload.name}-${folder.path.split('/').at(-1)}`
      const draft = createDraft(importName(objectNameOf(wanted), workload.namespace), workload.namespace)
      writeDraft(draft, folder, annotations)
      return { folder, draft }
    })
    // Notes that apply to all imports are written once.
    const [first, ...others] = drafts
    for (const { draft } of others)
      draft.notes = draft.notes.filter((note) => !first?.draft.notes.includes(note))
    const filled = drafts.filter(({ draft }) => !isEmpty(draft))
    const lost = drafts.filter(({ draft }) => isEmpty(draft)).flatMap(({ draft }) => draft.notes)
    if (filled.length === 0) {
      const reasons = drafts.flatMap(({ draft }) => draft.notes)
      conversion.refusals.push(
        [`${titleOf(workload)}: none of its files could be converted`, ...reasons].join('; '),
      )
      continue
    }
    const folders = filled.map(({ folder }) => folder.path)
    for (const { folder, draft } of filled) mountFolder(workload, annotations, folder, draft, folders)
    addComment(workload.document, [...workload.pod, 'spec'], lost)
    removeAnnotations(workload, isAgentAnnotation)
    conversion.imports.push(...filled.map(({ draft }) => draft))
    conversion.workloads.push(workload)
  }
  return conversion
}

/** The main folder comes first, then those of agent-inject-file and secret-volume-path-NAME. */
function foldersOf(annotations: AgentAnnotations): Folder[] {
  const folders = new Map<string, Folder>()
  const at = (path: string): Folder => {
    const folder = folders.get(path) ?? { path, secrets: [], hasToken: false }
    folders.set(path, folder)
    return folder
  }
  if (isTrue(annotations.values.get('agent-inject-token')))
    at(normalizePath(annotations.folder)).hasToken = true
  for (const secret of secretsOf(annotations)) {
    const below = secret.file.split('/').slice(0, -1).join('/')
    at(normalizePath(`${secret.folder}/${below}`)).secrets.push(secret)
  }
  const main = folders.get(normalizePath(annotations.folder))
  const others = [...folders.values()].filter((folder) => folder !== main)
  return main === undefined ? others : [main, ...others]
}

function normalizePath(path: string): string {
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
  folders: readonly string[],
): void {
  const volume = addVolume(workload, 'vault-secrets', draft.name)
  const named = values
    .get('agent-inject-containers')
    ?.split(',')
    .map((name) => name.trim())
  const withInit = isTrue(values.get('agent-init-first'))
  for (const container of containersOf(workload)) {
    const isWanted = container.isInit ? withInit : (named?.includes(container.name) ?? true)
    if (isWanted) mountIn(workload, container, { volume, path, folders })
  }
}

function mountIn(
  workload: Workload,
  container: Container,
  { volume, path, folders }: { volume: string; path: string; folders: readonly string[] },
): void {
  const { document } = workload
  const mountsPath = [...container.path, 'volumeMounts']
  const mounts = listAt(container.value, 'volumeMounts').map((mount) =>
    normalizePath(textAt(mount, 'mountPath') ?? '/'),
  )
  if (mounts.includes(path)) {
    const note = toDo(`a volume is already mounted at ${path}: mount volume ${volume} there instead`)
    addComment(document, mountsPath, [note])
    return
  }
  const parentMount = mounts.find((mount) => mount !== '/' && path.startsWith(`${mount}/`))
  const isInConverted = parentMount !== undefined && folders.includes(parentMount)
  // The mount point cannot be created in a read-only volume: the container would not start.
  const place = isInConverted
    ? `${parentMount}-${path.slice(parentMount.length + 1).replaceAll('/', '-')}`
    : path
  addMount(workload, container, volume, place)
  if (parentMount === undefined) return
  const note = isInConverted
    ? changed(
        `the files of ${path} are now in ${place}, because no volume can be mounted inside a read-only one: have the application read them there`,
      )
    : toDo(
        `check that the volume at ${parentMount} is writable: otherwise the container cannot start with another volume inside it`,
      )
  addComment(document, [...mountsPath, mounts.length], [note])
}
