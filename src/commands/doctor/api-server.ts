import * as z from 'zod'
import type { Answer, KubeClient } from '../../kube/client.ts'
import { describeAnswer, describeError } from '../../kube/failure.ts'
import type { Call } from '../../kube/http.ts'
import { ok, skipped, type Verdict, warn } from './report.ts'

/** Older kubelets dial plugins with an authority that Node's HTTP/2 refuses. */
const OLDEST_MINOR = 29

const versionSchema = z.object({ gitVersion: z.string(), major: z.string(), minor: z.string() })

/** Whether the API server answers, and its version. */
export async function checkApiServer(client: KubeClient, signal: AbortSignal): Promise<Verdict> {
  const result = await get(client, '/version', signal)
  if (result.state !== 'found') {
    return skipped(`${client.server} answers, but not to /version: ${result.reason}`)
  }
  const version = versionSchema.safeParse(result.body)
  if (!version.success) throw new Error(`${client.server}/version is not the answer of an API server`)
  const { gitVersion, major, minor } = version.data
  const detail = `${client.server}, ${gitVersion}`
  const isOld = major === '1' && Number.parseInt(minor, 10) < OLDEST_MINOR
  return isOld ? warn(detail, `upgrade to Kubernetes 1.${OLDEST_MINOR} or later`) : ok(detail)
}

/** The API server's answer to one request; denied: this account lacks the right. */
export type QueryResult =
  | { state: 'found'; body: unknown }
  | { state: 'missing'; reason: string }
  | { state: 'denied'; reason: string }

/** @throws Error with the cause when the API server is unreachable or refuses for another reason; the signal's reason */
export async function query(client: KubeClient, call: Call, signal: AbortSignal): Promise<QueryResult> {
  const answer = await client.call(call, signal).catch((error: unknown) => {
    signal.throwIfAborted()
    throw new Error(`the API server at ${client.server}: ${describeError(error)}`)
  })
  return toResult(answer)
}

/** A GET without query parameters. */
export function get(client: KubeClient, path: string, signal: AbortSignal): Promise<QueryResult> {
  return query(client, { method: 'GET', path }, signal)
}

function toResult(answer: Answer): QueryResult {
  if (answer.status === 200 || answer.status === 201) return { state: 'found', body: answer.body }
  const reason = describeAnswer(answer)
  if (answer.status === 404) return { state: 'missing', reason }
  if (answer.status === 403) return { state: 'denied', reason }
  throw new Error(`the API server answered ${reason}`)
}
