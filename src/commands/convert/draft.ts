import type { CredentialFormat, DataFormat, DeletionPolicy, Encoding } from '../../core/imports/import.ts'
import { changed, toDo } from './comment.ts'
import type { Part } from './liquid.ts'
import { createNames, fileNameOf, type Names } from './names.ts'

/** Notes for the reader; they become a comment above the item. */
type Noted = { notes: readonly string[] }

export type DraftFile = Noted & {
  name: string
  parts: readonly Part[]
  encoding: Encoding
  mode: number | undefined
}

export type DraftDataFrom = Noted & { path: string; format: DataFormat; fileName: string }

export type DraftCredential = Noted & {
  format: CredentialFormat
  name: string
  mode: number | undefined
  role?: string
}

export type DraftSecretSync = Noted & {
  name: string
  type: string | undefined
  deletionPolicy: DeletionPolicy
  data: readonly { key: string; file: string }[]
}

/** Fields of spec about access to Vault. */
export type Access = Partial<{
  role: string
  authMethod: 'kubernetes' | 'jwt'
  authPath: string
  namespace: string
  address: string
  caCert: string
  caCertRef: { kind: 'ConfigMap' | 'Secret'; name: string; key: string }
  tlsServerName: string
  audience: string
  skipTLSVerify: boolean
  refreshInterval: string
  missingPolicy: 'Ignore'
}>

/** A SecretsStoreImport under construction. */
export type ImportDraft = {
  name: string
  /** undefined: set when it is applied. */
  namespace: string | undefined
  access: Access
  accessNotes: Map<keyof Access, string[]>
  files: DraftFile[]
  dataFrom: DraftDataFrom[]
  credentials: DraftCredential[]
  secretSync: DraftSecretSync[]
  /** About the import as a whole. */
  notes: string[]
  fileNames: Names
}

export function createDraft(name: string, namespace: string | undefined): ImportDraft {
  return {
    name,
    namespace,
    access: {},
    accessNotes: new Map(),
    files: [],
    dataFrom: [],
    credentials: [],
    secretSync: [],
    notes: [],
    fileNames: createNames('_'),
  }
}

/** @param notes about this field, for the reader */
export function setAccess<Field extends keyof Access>(
  draft: ImportDraft,
  field: Field,
  value: Access[Field],
  ...notes: string[]
): void {
  if (value !== undefined) draft.access[field] = value
  if (notes.length > 0) draft.accessNotes.set(field, [...(draft.accessNotes.get(field) ?? []), ...notes])
}

/** Sets Vault's address, with a note on the flags that it needs. */
export function setAddress(draft: ImportDraft, address: string | undefined): void {
  if (!address) return
  const flags = [`--allow-address=${address}`, ...(address.startsWith('http:') ? ['--allow-http'] : [])]
  const advice = toDo(
    `remove this line if it is the plugin's own --vault-addr; otherwise the plugin needs ${flags.join(' and ')}`,
  )
  setAccess(draft, 'address', address, advice)
}

/** A CA contradicts skipping verification: the CA wins. */
export function setSkipVerify(draft: ImportDraft, isOn: boolean): void {
  if (!isOn) return
  const ca = (['caCert', 'caCertRef'] as const).find((field) => draft.access[field] !== undefined)
  if (ca !== undefined) {
    setAccess(draft, ca, undefined, changed('the certificate was not verified; now it is, with this CA'))
    return
  }
  const note = toDo('the plugin needs --allow-skip-verify; a CA in caCertRef is better')
  setAccess(draft, 'skipTLSVerify', true, note)
}

/** Sets the auth mount as imports write it: `auth/kubernetes/login` is `kubernetes`. */
export function setAuthPath(draft: ImportDraft, path: string | undefined): void {
  const mount = path?.replace(/^\/*(v1\/)?(auth\/)?/, '').replace(/(\/login)?\/*$/, '')
  if (mount) setAccess(draft, 'authPath', mount)
}

/** A valid, unique name for a file of the import, with a note if it had to change. */
export function takeFileName(draft: ImportDraft, wanted: string): { name: string; notes: string[] } {
  const validName = fileNameOf(wanted)
  const name = draft.fileNames.take(validName)
  if (name === wanted) return { name, notes: [] }
  const reason = validName === wanted ? 'is already taken in this import' : 'is not valid in an import'
  return {
    name,
    notes: [
      toDo(`the file was ${JSON.stringify(wanted)}, which ${reason}; have the application read ${name}`),
    ],
  }
}

/** Whether the import has no files. */
export function isEmpty({ files, dataFrom, credentials }: ImportDraft): boolean {
  return files.length + dataFrom.length + credentials.length === 0
}
