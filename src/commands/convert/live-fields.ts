import { type Path, remove } from './edit.ts'
import type { Manifest } from './input.ts'

/** What the API server adds to a manifest, and refuses or ignores when it is applied again. */
const FIELDS: readonly Path[] = [
  ['status'],
  ['metadata', 'managedFields'],
  ['metadata', 'resourceVersion'],
  ['metadata', 'uid'],
  ['metadata', 'creationTimestamp'],
  ['metadata', 'generation'],
  ['metadata', 'selfLink'],
  ['metadata', 'annotations', 'kubectl.kubernetes.io/last-applied-configuration'],
  ['metadata', 'annotations', 'deployment.kubernetes.io/revision'],
]

/** Makes what `kubectl get -o yaml` printed a manifest that can be applied. Others stay as they are. */
export function dropLiveFields({ document }: Manifest): void {
  if (!document.hasIn(['metadata', 'uid'])) return
  for (const path of FIELDS) if (document.hasIn(path)) remove(document, path)
}
