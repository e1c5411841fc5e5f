import { parseDocument } from 'yaml'
import { parseMode } from '../../core/imports/file-mode.ts'
import { kubectlTags } from '../../core/imports/kubectl-yaml.ts'
import { secretTypeFaults } from '../../core/imports/secret-types.ts'
import { changed, noCounterpart, toDo, withOriginal } from './comment.ts'
import {
  createDraft,
  type ImportDraft,
  setAccess,
  setAddress,
  setAuthPath,
  setSkipVerify,
  takeFileName,
} from './draft.ts'
import { at, isTrue, listAt, textAt, textsAt } from './manifest.ts'
import { hasDataSegment, isPlain, type VaultCall, vaultCall } from './vault-call.ts'

/** One entry of `parameters.objects`. */
type ProviderObject = {
  name: string
  key: string | undefined
  encoding: string
  mode: number | undefined
  call: VaultCall
}

/** Parameters that name files in the provider's pod. */
const PROVIDER_PATHS = {
  vaultCACertPath: 'CA',
  vaultCADirectory: 'CA',
  vaultTLSClientCertPath: 'client certificate',
  vaultTLSClientKeyPath: 'client key',
} as const

const KNOWN = [
  'roleName',
  'vaultAddress',
  'vaultNamespace',
  'vaultKubernetesMountPath',
  'vaultAuthMountPath',
  'audience',
  'vaultSkipTLSVerify',
  'vaultTLSServerName',
  'vaultCAPem',
  'objects',
  ...Object.keys(PROVIDER_PATHS),
]

/**
 * Converts a SecretProviderClass of Vault or OpenBao.
 * @param manifest as plain data
 * @param name of the import
 */
export function convertProviderClass(manifest: unknown, name: string): ImportDraft {
  const draft = createDraft(name, textAt(manifest, 'metadata', 'namespace'))
  const parameters = textsAt(manifest, 'spec', 'parameters')
  convertAccess(draft, parameters)
  const objects = readObjects(parameters.get('objects') ?? '')
  if ('fault' in objects)
    draft.notes.push(noCounterpart(`parameters.objects: ${objects.fault}`, 'write spec.files by hand'))
  else for (const object of objects.list) convertObject(draft, object)
  for (const secret of listAt(manifest, 'spec', 'secretObjects')) convertSecretObject(draft, secret)
  return draft
}

function convertAccess(draft: ImportDraft, parameters: ReadonlyMap<string, string>): void {
  const role = parameters.get('roleName')
  if (role) setAccess(draft, 'role', role)
  else {
    const advice = toDo('roleName is not set: set the role that the provider used by default')
    setAccess(draft, 'role', 'REPLACE-ME', advice)
  }
  setAuthPath(draft, parameters.get('vaultAuthMountPath') ?? parameters.get('vaultKubernetesMountPath'))
  setAccess(draft, 'namespace', parameters.get('vaultNamespace') || undefined)
  setAddress(draft, parameters.get('vaultAddress'))
  setAccess(draft, 'caCert', parameters.get('vaultCAPem') || undefined)
  setAccess(draft, 'tlsServerName', parameters.get('vaultTLSServerName') || undefined)
  const audience = parameters.get('audience')
  if (audience) setAccess(draft, 'audience', audience)
  setSkipVerify(draft, isTrue(parameters.get('vaultSkipTLSVerify')))
  for (const [parameter, what] of Object.entries(PROVIDER_PATHS)) {
    const path = parameters.get(parameter)
    if (!path) continue
    const next =
      what === 'CA'
        ? 'put the CA in a ConfigMap and name it in spec.caCertRef, or have the cluster admin set --vault-ca-cert'
        : 'log in with the service account only; TLS client certificates are not supported'
    draft.notes.push(noCounterpart(`${parameter} ${path} is a file in the provider's own pod`, next))
  }
  for (const [parameter, value] of parameters) {
    if (KNOWN.includes(parameter)) continue
    draft.notes.push(
      noCounterpart(`parameter ${parameter}: ${JSON.stringify(value)}`, 'check whether it still matters'),
    )
  }
}

/** `objects` is a string of YAML. */
function readObjects(text: string): { list: readonly unknown[] } | { fault: string } {
  const document = parseDocument(text, {
    version: '1.1',
    customTags: kubectlTags,
    prettyErrors: false,
    logLevel: 'silent',
  })
  const list: unknown = document.errors.length > 0 ? undefined : document.toJS()
  if (!Array.isArray(list)) return { fault: 'it is not a YAML list' }
  return list.length > 0 ? { list } : { fault: 'it is empty' }
}

function convertObject(draft: ImportDraft, value: unknown): void {
  const read = readObject(value)
  if ('fault' in read) {
    const original = JSON.stringify(value)
    draft.notes.push(
      withOriginal(
        noCounterpart(`an object of the class: ${read.fault}`, 'write its file by hand'),
        original,
      ),
    )
    return
  }
  const { object, notes } = read
  const { name, notes: nameNotes } = takeFileName(draft, object.name)
  const file = { name, mode: object.mode, notes: [...nameNotes, ...notes] }
  if (object.key !== undefined) {
    const parts = [{ call: object.call, keys: [object.key], filters: [] }]
    draft.files.push({ ...file, parts, encoding: encodingOf(object.encoding) })
    return
  }
  const before = hasDataSegment(object.call.path)
    ? 'with "data" and "metadata" in "data"'
    : 'with the keys in "data"'
  const note = changed(
    `the file was Vault's whole answer as JSON, ${before}; now it holds only the keys and values`,
  )
  if (isPlain(object.call) && object.mode === undefined) {
    draft.dataFrom.push({
      path: object.call.path,
      format: 'JSON',
      fileName: name,
      notes: [...file.notes, note],
    })
    return
  }
  // dataFrom has only paths, and no mode.
  const parts = [{ call: object.call, keys: [], filters: ['json'] }]
  draft.files.push({ ...file, notes: [...file.notes, note], parts, encoding: 'utf-8' })
}

function readObject(value: unknown): { object: ProviderObject; notes: string[] } | { fault: string } {
  const name = textAt(value, 'objectName')
  const path = textAt(value, 'secretPath')
  if (!name || !path) return { fault: 'it needs objectName and secretPath' }
  const [plainPath = '', query = ''] = path.split('?')
  const version = Number(new URLSearchParams(query).get('version') ?? 0) || undefined
  const method = (textAt(value, 'method') ?? 'GET').toUpperCase()
  if (method !== 'GET' && method !== 'PUT' && method !== 'POST')
    return { fault: `its method is ${JSON.stringify(method)}` }
  const secretArgs = at(value, 'secretArgs')
  const args = typeof secretArgs === 'object' && secretArgs !== null ? { ...secretArgs } : undefined
  const called = vaultCall(plainPath, method === 'GET' ? { version } : { method, data: args })
  if ('fault' in called) return called
  const mode = modeOf(at(value, 'filePermission'))
  const notes = [...mode.notes]
  if (method === 'GET' && args !== undefined) {
    notes.push(
      noCounterpart(`secretArgs ${JSON.stringify(args)} of a GET`, 'check whether method PUT is meant'),
    )
  }
  const key = textAt(value, 'secretKey') || undefined
  const encoding = textAt(value, 'encoding') || 'utf-8'
  return { object: { name, key, encoding, mode: mode.mode, call: called.call }, notes }
}

function modeOf(value: unknown): { mode: number | undefined; notes: string[] } {
  if (value === undefined || value === null) return { mode: undefined, notes: [] }
  const parsed = parseMode(value)
  if ('mode' in parsed) return { mode: parsed.mode, notes: [] }
  return { mode: undefined, notes: [toDo(`filePermission ${parsed.fault}`)] }
}

function encodingOf(encoding: string): 'utf-8' | 'base64' | 'hex' {
  const known = encoding.toLowerCase()
  return known === 'base64' || known === 'hex' ? known : 'utf-8'
}

/** deletionPolicy Delete: the driver, too, deletes the Secret after the last pod that mounts it is gone. */
function convertSecretObject(draft: ImportDraft, secret: unknown): void {
  const name = textAt(secret, 'secretName')
  const data = listAt(secret, 'data').flatMap((item) => {
    const key = textAt(item, 'key')
    const object = textAt(item, 'objectName')
    const file = object === undefined ? undefined : fileOf(draft, object)
    return key && file ? [{ key, file }] : []
  })
  const type = textAt(secret, 'type')
  const typeFaults = secretTypeFaults(
    type,
    data.map(({ key }) => key),
    'spec.secretSync[]',
  )
  const lost = listAt(secret, 'data').length - data.length
  const notes = ['labels', 'annotations'].flatMap((field) => {
    const texts = textsAt(secret, field)
    if (texts.size === 0) return []
    const shown = [...texts].map(([key, value]) => `${key}: ${value}`).join(', ')
    return [
      noCounterpart(
        `${field} of the Secret (${shown})`,
        `set them once with kubectl ${field === 'labels' ? 'label' : 'annotate'}`,
      ),
    ]
  })
  notes.push(
    toDo(
      `delete the Secret ${name} of the old driver when you apply this, or rename it here and in its users; a Secret that the plugin did not create is never overwritten`,
    ),
  )
  if (lost > 0) notes.push(toDo(`${lost} of its keys name objects that are not among the files`))
  if (!name || data.length === 0 || typeFaults.length > 0) {
    draft.notes.push(
      withOriginal(
        noCounterpart(
          ['an entry of secretObjects', ...typeFaults].join(', '),
          'write spec.secretSync by hand',
        ),
        JSON.stringify(secret),
      ),
    )
    return
  }
  draft.secretSync.push({ name, type, deletionPolicy: 'Delete', data, notes })
}

function fileOf(draft: ImportDraft, object: string): string | undefined {
  const names = [...draft.files.map(({ name }) => name), ...draft.dataFrom.map(({ fileName }) => fileName)]
  return names.find((name) => name === object) ?? names.find((name) => name === object.replaceAll('/', '_'))
}
