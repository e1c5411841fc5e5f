import type { Facts } from '../core/faults/facts.ts'
import { FaultError, joinMessages, scrub } from '../core/faults/fault.ts'
import { isJsonObject, jsonToNumber } from '../core/json/json.ts'
import { answerFacts, serverFault } from './faults.ts'
import type { Answer } from './transport.ts'

/** Why Vault did not give what stands at `path`; a path of a KV v2 engine without data/ is found by isKv2Path. */
export function readFault(answer: Answer, path: string, now: number, facts: Facts): FaultError {
  const known = { ...facts, path, ...answerFacts(answer) }
  if (answer.status === 403) return new FaultError('read_denied', known)
  if (answer.status === 400) return new FaultError('call_refused', known)
  if (answer.status === 404) return deletedFault(answer, known) ?? new FaultError('path_not_found', known)
  // "unsupported operation": there is something at the path, but nothing that GET brings.
  if (answer.status === 405) return new FaultError('path_not_found', known)
  const server = serverFault(answer, now, { ...facts, path })
  return server ?? new FaultError('vault_error', known)
}

/** Why Vault did not do what was asked of it. */
export function callFault(
  answer: Answer,
  { method, path }: { method: 'GET' | 'POST' | 'PUT'; path: string },
  now: number,
  facts: Facts,
): FaultError {
  const known = { ...facts, path, ...answerFacts(answer) }
  if (method === 'GET') return readFault(answer, path, now, facts)
  if (answer.status === 403) return new FaultError('read_denied', { ...known, capability: 'update' })
  if (answer.status === 405) return new FaultError('call_refused', known)
  return readFault(answer, path, now, facts)
}

/** Whether Vault warns that the path belongs to a KV v2 engine but leaves out data/. */
export function isKv2Path(answer: Answer): boolean {
  if (answer.status !== 404 || !isJsonObject(answer.body)) return false
  const { warnings } = answer.body
  return Array.isArray(warnings) && warnings.some((text) => typeof text === 'string' && VERSIONED.test(text))
}

const VERSIONED = /invalid path for a versioned k\/v secrets engine/i

/** Vault's warnings, as the words of a fault. */
export function warningFacts(answer: Answer): Facts {
  const warnings = isJsonObject(answer.body) ? answer.body.warnings : undefined
  const words = scrub(joinMessages(warnings, ' '))
  return { httpStatus: answer.status, serverMessage: words }
}

/** @param mount where the engine is mounted; undefined: take the first segment, the usual case */
export function kv2PathFault(path: string, mount: string | undefined, facts: Facts): FaultError {
  const root = mount ?? path.split('/', 1)[0] ?? ''
  const rest = path.slice(root.length).replace(/^\/+/, '')
  return new FaultError('kv2_path', {
    ...facts,
    path,
    wanted: `${root}/data/${rest === '' ? '<name>' : rest}`,
  })
}

/** KV v2 answers 404 with the metadata of a version that was deleted or destroyed. */
function deletedFault(answer: Answer, facts: Facts): FaultError | undefined {
  const data = isJsonObject(answer.body) ? answer.body.data : undefined
  if (!isJsonObject(data) || !isJsonObject(data.metadata)) return undefined
  const { version, destroyed, deletion_time: deletedAt } = data.metadata
  const number = jsonToNumber(version)
  return new FaultError('version_deleted', {
    ...facts,
    ...(number === undefined ? {} : { version: number }),
    reason: destroyed === true ? 'destroyed' : 'deleted',
    ...(typeof deletedAt === 'string' && deletedAt !== ''
      ? { deletedAt: scrub(deletedAt).slice(0, 64) }
      : {}),
  })
}
