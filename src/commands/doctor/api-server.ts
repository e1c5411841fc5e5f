import * as z from 'zod'
import type { Answer, KubeClient } from '../../kube/client.ts'
import type { Call } from '../../kube/exchange.ts'
import { describeAnswer, describeError } from '../../kube/failure.ts'
import { ok, skipped, type Verdict, warn } from './report.ts'

/** kubelets before dial plugins with an authority that Node's HTTP/2 refuses. */
const OLDEST_MINOR = 29

const versionSchema = z.object({ gitVersion: z.string(), major: z.string(), minor: z.string() })

/** Whether the API server answers us, and which one it is. */
export async function checkApiServer(client: KubeClient, signal: AbortSignal): Promise<Verdict> {
  const asked = await get(client, '/version', signal)
  if (asked.state !== 'found') return skipped(`${client.server} answers, but not /version: ${asked.words}`)
  const version = versionSchema.safeParse(asked.body)
  if (!version.success) throw new Error(`${client.server}/version is not that of an API server`)
  const { gitVersion, major, minor } = version.data
  const detail = `${client.server}, ${gitVersion}`
  const isOld = major === '1' && Number.parseInt(minor, 10) < OLDEST_MINOR
  return isOld ? warn(detail, `upgrade to Kubernetes 1.${OLDEST_MINOR} or later`) : ok(detail)
}

/** What the API server said to one question; denied: whoever runs the doctor may not ask it. */
export type Asked =
  | { state: 'found'; body: unknown }
  | { state: 'missing'; words: string }
  | { state: 'denied'; words: string }

/** @throws Error for the operator when the API server is away or refuses for another reason; the signal's reason */
export async function ask(client: KubeClient, call: Call, signal: AbortSignal): Promise<Asked> {
  const answer = await client.call(call, signal).catch((error: unknown) => {
    signal.throwIfAborted()
    throw new Error(`the API server at ${client.server}: ${describeError(error)}`)
  })
  return judge(answer)
}

/** A question without body or query. */
export function get(client: KubeClient, path: string, signal: AbortSignal): Promise<Asked> {
  return ask(client, { method: 'GET', path }, signal)
}

function judge(answer: Answer): Asked {
  if (answer.status === 200 || answer.status === 201) return { state: 'found', body: answer.body }
  const words = describeAnswer(answer)
  if (answer.status === 404) return { state: 'missing', words }
  if (answer.status === 403) return { state: 'denied', words }
  throw new Error(`the API server answered ${words}`)
}
