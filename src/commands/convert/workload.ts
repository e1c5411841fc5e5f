import { isMap } from 'yaml'
import { appendTo, type Path, remove } from './edit.ts'
import { listAt, type Manifest, readAt, textAt, textsAt } from './manifest.ts'
import { createNames } from './names.ts'

export const DRIVER = 'secrets-store.csi.deckhouse.io'

/** A manifest that creates pods. */
export type Workload = Manifest & {
  /** Path of the pod's metadata and spec. */
  pod: Path
}

export type Container = {
  path: Path
  name: string
  isInit: boolean
  /** As plain data. */
  value: unknown
}

/** Path of the pod in a Pod, in kinds with a template, and in a CronJob. */
const POD_PATHS: readonly Path[] = [[], ['spec', 'template'], ['spec', 'jobTemplate', 'spec', 'template']]

/** @returns undefined when the manifest creates no pods */
export function toWorkload(manifest: Manifest): Workload | undefined {
  const pod = POD_PATHS.find((path) => listAt(readAt(manifest, path), 'spec', 'containers').length > 0)
  return pod && { ...manifest, pod }
}

export function annotationsOf(workload: Workload): Map<string, string> {
  return textsAt(readAt(workload, workload.pod), 'metadata', 'annotations')
}

export function removeAnnotations(workload: Workload, isRemoved: (name: string) => boolean): void {
  for (const name of annotationsOf(workload).keys()) {
    if (isRemoved(name)) remove(workload.document, [...workload.pod, 'metadata', 'annotations', name])
  }
  const metadata = workload.document.getIn([...workload.pod, 'metadata'], true)
  if (isMap(metadata) && metadata.items.length === 0)
    workload.document.deleteIn([...workload.pod, 'metadata'])
}

/** Init containers first, in the order in which they run. */
export function containersOf(workload: Workload): Container[] {
  return ['initContainers', 'containers'].flatMap((list) => {
    const path = [...workload.pod, 'spec', list]
    const isInit = list === 'initContainers'
    return listAt(readAt(workload, path)).flatMap((value, index): Container[] => {
      if (typeof value !== 'object' || value === null) return []
      const name = textAt(value, 'name') ?? `${list}-${index}`
      return [{ path: [...path, index], name, isInit, value }]
    })
  })
}

export function serviceAccountOf(workload: Workload): string {
  const spec = readAt(workload, [...workload.pod, 'spec'])
  return textAt(spec, 'serviceAccountName') ?? textAt(spec, 'serviceAccount') ?? 'default'
}

/**
 * Adds a volume with the files of an import.
 * @returns the volume's name: `wanted`, with a number if it is taken
 */
export function addVolume(workload: Workload, wanted: string, importName: string): string {
  const path = [...workload.pod, 'spec', 'volumes']
  const taken = listAt(readAt(workload, path)).map((volume) => textAt(volume, 'name') ?? '')
  const name = createNames('-', taken).take(wanted)
  appendTo(workload.document, path, { name, csi: csiOf(importName) })
  return name
}

/** The `csi` field of a volume. */
export function csiOf(importName: string): object {
  return { driver: DRIVER, readOnly: true, volumeAttributes: { secretsStoreImport: importName } }
}

export function addMount(workload: Workload, container: Container, volume: string, mountPath: string): void {
  appendTo(workload.document, [...container.path, 'volumeMounts'], {
    name: volume,
    mountPath,
    readOnly: true,
  })
}

/** As kubectl shows it: `Deployment/app`. */
export function titleOf({ kind, name }: Manifest): string {
  return kind === '' ? 'a document without kind' : `${kind}/${name}`
}
