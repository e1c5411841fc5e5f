import { FaultError } from '../../core/faults/fault.ts'
import { type ImportSpec, parseImport } from '../../core/imports/import.ts'
import { checkPolicy } from '../../core/imports/policy.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { Log } from '../../core/ports/log.ts'
import type { Config } from '../../core/settings/config.ts'
import { createDirImports } from '../../files/imports-dir.ts'
import type { KubeClient } from '../../kube/client.ts'
import { fieldOf } from '../../kube/failure.ts'
import { importsPath, listNames, onlyNamed } from '../../kube/import-calls.ts'
import { query } from './api-server.ts'
import { fail, ok, skipped, type Verdict } from './report.ts'

type Ref = { namespace: string; name: string }

/** For the first read of a directory, in milliseconds. */
const DIRECTORY_MS = 10_000

/** `get` throws for faulty manifests; they need no log. */
const noLog: Log = { debug() {}, info() {}, warn() {}, error() {} }

/** The import as the API server has it. */
export async function checkKubeImport(
  client: KubeClient,
  { namespace, name }: Ref,
  signal: AbortSignal,
): Promise<Verdict<ImportSpec>> {
  // A list instead of a get: the plugin's own service account may only list.
  const call = { method: 'GET', path: importsPath(namespace), query: onlyNamed(name) } as const
  const result = await query(client, call, signal)
  if (result.state === 'denied') return skipped(`you may not list imports in ${namespace}: ${result.reason}`)
  if (result.state === 'missing')
    return fail('the API server does not know SecretsStoreImport', 'install the CRD')
  const items = fieldOf(result.body, 'items')
  const found: unknown = Array.isArray(items) ? items[0] : undefined
  const context = { importName: name, podNamespace: namespace }
  if (found === undefined) {
    const known = await listNames(client, namespace, signal)
    throw new FaultError('import_not_found', { ...context, known: known.sort() })
  }
  // Items of a list have neither kind nor apiVersion.
  const parsed = parseImport({
    ...(found as object),
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
  })
  if ('faults' in parsed)
    throw new FaultError('import_invalid', { ...context, reason: parsed.faults.join('; ') })
  return describe(parsed.spec)
}

/** The import as a directory of manifests has it. */
export async function checkDirImport(
  path: string,
  { namespace, name }: Ref,
  clock: Clock,
  signal: AbortSignal,
): Promise<Verdict<ImportSpec>> {
  const imports = createDirImports({ path, log: noLog, clock })
  try {
    await imports.start(AbortSignal.any([signal, AbortSignal.timeout(DIRECTORY_MS)]))
    return describe(await imports.get(namespace, name, signal))
  } finally {
    await imports.close()
  }
}

/** Whether the plugin's settings allow it. @throws FaultError policy_refused */
export function checkAllowed(spec: ImportSpec, config: Config): Verdict {
  checkPolicy(spec, config)
  return ok("the plugin's settings allow it")
}

function describe(spec: ImportSpec): Verdict<ImportSpec> {
  const { namespace, name, role, files, dataFrom, credentials } = spec
  const names = [
    ...files.map((file) => file.name),
    ...dataFrom.map(({ fileName, call }) => fileName ?? `all of ${call.path}`),
    ...credentials.map((credential) => credential.name),
  ]
  return ok(`${namespace}/${name}: role "${role}", files ${names.join(', ')}`, spec)
}
