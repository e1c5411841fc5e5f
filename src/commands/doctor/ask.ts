import type { Answer, KubeClient } from '../../kube/client.ts'
import { describeAnswer, describeError } from '../../kube/failure.ts'
import type { Call } from '../../kube/http.ts'

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
