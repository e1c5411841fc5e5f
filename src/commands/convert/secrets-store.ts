import { noCounterpart, toDo } from './comment.ts'
import type { Conversion, Manifests } from './conversion.ts'
import { type ImportDraft, isEmpty } from './draft.ts'
import { addComment } from './edit.ts'
import { listAt, type Manifest, readAt, textAt } from './manifest.ts'
import { objectNameOf } from './names.ts'
import { convertProviderClass } from './provider-class.ts'
import { csiOf, titleOf, type Workload } from './workload.ts'

const FOREIGN_DRIVER = 'secrets-store.csi.k8s.io'
const PROVIDERS = ['vault', 'openbao']

/** secrets-store-csi-driver with the provider of Vault or OpenBao: SecretProviderClasses, and volumes that name one. */
export function convertSecretsStore({ all, workloads, importName }: Manifests): Conversion {
  const classes = all.filter(({ kind }) => kind === 'SecretProviderClass')
  const imports = new Map<Manifest, ImportDraft>()
  const refusals: string[] = []
  for (const manifest of classes) {
    const provider = textAt(readAt(manifest, ['spec']), 'provider') ?? ''
    if (!PROVIDERS.includes(provider)) {
      refusals.push(
        `${titleOf(manifest)}: its provider is ${JSON.stringify(provider)}, not ${PROVIDERS.join(' or ')}`,
      )
      continue
    }
    const draft = convertProviderClass(
      readAt(manifest, []),
      importName(objectNameOf(manifest.name), manifest.namespace),
    )
    if (isEmpty(draft))
      refusals.push(`${titleOf(manifest)}: none of its objects could be converted; ${draft.notes.join(' ')}`)
    else imports.set(manifest, draft)
  }
  const changed = workloads.filter((workload) => {
    const { isChanged, missing } = convertVolumes(workload, classes, imports)
    refusals.push(...missing.map((reason) => `${titleOf(workload)}: ${reason}`))
    return isChanged
  })
  return { imports: [...imports.values()], workloads: changed, refusals }
}

/**
 * Volumes keep their names, so the containers' mounts do not change. A class that is not in the input may be of another
 * provider: its volume does not change.
 */
function convertVolumes(
  workload: Workload,
  classes: readonly Manifest[],
  imports: ReadonlyMap<Manifest, ImportDraft>,
): { isChanged: boolean; missing: string[] } {
  const { document } = workload
  const path = [...workload.pod, 'spec', 'volumes']
  const missing: string[] = []
  let isChanged = false
  for (const [index, volume] of listAt(readAt(workload, path)).entries()) {
    const wanted = textAt(volume, 'csi', 'volumeAttributes', 'secretProviderClass')
    if (textAt(volume, 'csi', 'driver') !== FOREIGN_DRIVER || wanted === undefined) continue
    const found = classes.find(
      ({ name, namespace }) => name === wanted && isSameNamespace(namespace, workload.namespace),
    )
    const draft = found && imports.get(found)
    if (found === undefined) {
      const reason = `SecretProviderClass ${wanted} is not in the input; convert both together`
      missing.push(reason)
      addComment(document, [...path, index], [toDo(reason)])
    }
    if (draft === undefined) continue
    document.setIn([...path, index, 'csi'], document.createNode(csiOf(draft.name)))
    isChanged = true
    if (textAt(volume, 'csi', 'nodePublishSecretRef', 'name') !== undefined) {
      const next = 'none, the pod logs in with its own service account'
      addComment(document, [...path, index], [noCounterpart('nodePublishSecretRef', next)])
    }
  }
  return { isChanged, missing }
}

/** A manifest without a namespace is applied in the other's. */
function isSameNamespace(one: string | undefined, other: string | undefined): boolean {
  return one === undefined || other === undefined || one === other
}
