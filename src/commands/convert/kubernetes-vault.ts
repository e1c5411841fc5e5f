import { isMap } from 'yaml'
import type { CredentialFormat } from '../../core/imports/import.ts'
import { noCounterpart, toDo } from './comment.ts'
import type { Conversion, Manifests } from './conversion.ts'
import { createDraft, type ImportDraft, setAccess } from './draft.ts'
import { addComment, remove } from './edit.ts'
import { listAt, readAt, textAt } from './manifest.ts'
import { objectNameOf } from './names.ts'
import {
  addMount,
  addVolume,
  annotationsOf,
  type Container,
  containersOf,
  csiOf,
  removeAnnotations,
  titleOf,
  type Workload,
} from './workload.ts'

const PREFIX = 'pod.boostport.com/'
const APPROLE = `${PREFIX}vault-approle`
const INIT_CONTAINER = `${PREFIX}vault-init-container`
const DEFAULT_FOLDER = '/var/run/secrets/boostport.com'
/** The init container's mode for its files. */
const MODE = 0o444

/** The file that the init container is configured to write. */
type CredentialFile = { format: CredentialFormat; folder: string; file: string }

/** kubernetes-vault: an init container that waits for a wrapped secret ID and writes a token for the application. */
export function convertKubernetesVault({ workloads, importName }: Manifests): Conversion {
  const conversion: Conversion = { imports: [], workloads: [], refusals: [] }
  for (const workload of workloads) {
    const annotations = annotationsOf(workload)
    const approle = annotations.get(APPROLE)
    if (approle === undefined) continue
    const wanted = annotations.get(INIT_CONTAINER)
    const init = containersOf(workload).find(({ name, isInit }) => isInit && name === wanted)
    if (init === undefined) {
      conversion.refusals.push(
        `${titleOf(workload)}: there is no init container ${JSON.stringify(wanted ?? '')} (annotation ${INIT_CONTAINER})`,
      )
      continue
    }
    const credentialFile = credentialFileOf(init)
    const draft = createDraft(importName(objectNameOf(workload.name), workload.namespace), workload.namespace)
    writeDraft(draft, approle, credentialFile)
    replaceVolume(workload, draft, init, credentialFile)
    removeAnnotations(workload, (name) => name.startsWith(PREFIX))
    conversion.imports.push(draft)
    conversion.workloads.push(workload)
  }
  return conversion
}

function credentialFileOf({ value }: Container): CredentialFile {
  const environment = new Map(
    listAt(value, 'env').map((entry) => [textAt(entry, 'name') ?? '', textAt(entry, 'value') ?? '']),
  )
  const isOff = (name: string) => environment.get(name)?.toLowerCase() === 'false'
  const { format, name } = isOff('UNWRAP_SECRET')
    ? { format: 'WrappedSecretID' as const, name: 'vault-wrapped-secret-id' }
    : isOff('RETRIEVE_TOKEN')
      ? { format: 'SecretID' as const, name: 'vault-secret-id' }
      : { format: 'KubernetesVaultToken' as const, name: 'vault-token' }
  // TOKEN_PATH, of its first releases, is the path of the file.
  const path =
    environment.get('TOKEN_PATH') || `${environment.get('CREDENTIALS_PATH') || DEFAULT_FOLDER}/${name}`
  const parts = path.split('/').filter(Boolean)
  return { format, folder: `/${parts.slice(0, -1).join('/')}`, file: parts.at(-1) ?? name }
}

function writeDraft(draft: ImportDraft, approle: string, { format, file }: CredentialFile): void {
  const isToken = format === 'KubernetesVaultToken'
  const login = `the pod now logs in with its service account: create a role ${approle} of the auth method kubernetes that is bound to it`
  const grants = isToken
    ? ', with the policies of the AppRole'
    : `, with update on auth/approle/role/${approle}/secret-id and …/secret-id-accessor/destroy, and read on …/role-id`
  setAccess(draft, 'role', approle, toDo(login + grants))
  const notes = [
    noCounterpart(
      'ca.crt next to it, which was written when the controller had a CA for Vault',
      'if the application reads it, set caCertRef and add { format: CABundle, name: ca.crt }',
    ),
  ]
  const name = draft.fileNames.take(file)
  draft.credentials.push({ format, name, mode: MODE, notes, ...(isToken ? {} : { role: approle }) })
}

/** The init container's volume becomes a CSI volume of the same name; the containers' mounts stay. */
function replaceVolume(
  workload: Workload,
  draft: ImportDraft,
  init: Container,
  { folder }: CredentialFile,
): void {
  const { document } = workload
  const volumes = [...workload.pod, 'spec', 'volumes']
  const mount = listAt(init.value, 'volumeMounts').find((one) =>
    isWithin(folder, textAt(one, 'mountPath') ?? ''),
  )
  const name = textAt(mount, 'name') ?? ''
  const below = folder.slice((textAt(mount, 'mountPath') ?? '').replace(/\/$/, '').length)
  const index = listAt(readAt(workload, volumes)).findIndex((volume) => textAt(volume, 'name') === name)
  const users = containersOf(workload).filter(
    ({ isInit, name: containerName }) => !isInit || containerName !== init.name,
  )
  remove(document, init.path)
  if (index < 0) {
    addVolumeAndMounts(workload, draft, users, folder)
    return
  }
  const volume = document.getIn([...volumes, index], true)
  if (isMap(volume)) {
    for (const { key } of [...volume.items]) if (String(key) !== 'name') volume.delete(key)
    volume.set('csi', document.createNode(csiOf(draft.name)))
  }
  for (const container of containersOf(workload)) moveMounts(workload, container, name, below)
}

/** The init container may have created a folder below the mount; the files are now at the top of the volume. */
function moveMounts(workload: Workload, container: Container, volume: string, below: string): void {
  for (const [index, mount] of listAt(container.value, 'volumeMounts').entries()) {
    if (textAt(mount, 'name') !== volume) continue
    const path = [...container.path, 'volumeMounts', index]
    const mountPath = `${(textAt(mount, 'mountPath') ?? '').replace(/\/$/, '')}${below}`
    if (below !== '') workload.document.setIn([...path, 'mountPath'], mountPath)
    workload.document.setIn([...path, 'readOnly'], true)
    if (below !== '') {
      addComment(workload.document, path, [
        toDo('the volume now holds only the credentials: check that nothing else was kept in it'),
      ])
    }
  }
}

function addVolumeAndMounts(
  workload: Workload,
  draft: ImportDraft,
  users: readonly Container[],
  folder: string,
): void {
  const volume = addVolume(workload, 'vault-token', draft.name)
  const remaining = containersOf(workload).filter(({ name }) => users.some((user) => user.name === name))
  for (const container of remaining) addMount(workload, container, volume, folder)
}

function isWithin(folder: string, mountPath: string): boolean {
  const root = mountPath.replace(/\/$/, '')
  return root !== '' && (folder === root || folder.startsWith(`${root}/`))
}
