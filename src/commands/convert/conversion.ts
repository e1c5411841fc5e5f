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

/** The whole input, as each converter gets it. */
export type Manifests = {
  all: readonly Manifest[]
  workloads: readonly Workload[]
  /** A name for an import that is unique in the output. */
  importName(wanted: string, namespace: string | undefined): string
}

/** The result of one converter. */
export type Conversion = {
  imports: ImportDraft[]
  /** Changed in place. */
  workloads: Workload[]
  /** Manifests that could not be converted, and why; written to standard error. */
  refusals: string[]
}

export type Convert = (manifests: Manifests) => Conversion
