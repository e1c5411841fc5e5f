import type { ImportDraft } from './draft.ts'
import type { Manifest } from './manifest.ts'
import type { Workload } from './workload.ts'

export const systems = [
  'secrets-store-csi-driver',
  'bank-vaults',
  'vault-agent-injector',
  'kubernetes-vault',
] as const
export type System = (typeof systems)[number]

/** What all of the input is, for a system that looks through it. */
export type Manifests = {
  all: readonly Manifest[]
  workloads: readonly Workload[]
  /** A name for an import that no other of the output has. */
  importName(wanted: string, namespace: string | undefined): string
}

/** What one system's manifests became. */
export type Conversion = {
  imports: ImportDraft[]
  /** Changed in place. */
  workloads: Workload[]
  /** What could not be converted at all, and why: told beside the output. */
  refusals: string[]
}

export type Convert = (manifests: Manifests) => Conversion
