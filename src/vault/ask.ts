import type { Facts } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Identity } from '../core/ports/vault.ts'
import type { SecretText } from '../core/secret.ts'
import type { Call, Connections } from './connections.ts'
import { factsOf } from './facts.ts'
import { answerFacts } from './faults.ts'
import { callFault } from './read-faults.ts'
import type { Answer } from './transport.ts'

export type Question<T> = Pick<Call<T>, 'operation' | 'method' | 'path' | 'body' | 'headers'> & {
  /** Makes the result of an answer below 300; of others too when `refused` lets it. */
  judge(answer: Answer, facts: Facts): T
  /** What a refusal means here, before it is taken for a fault of the usual kind. */
  refused?: (answer: Answer, facts: Facts) => FaultError | { result: T } | undefined
}

/** One question to Vault with one token. @throws FaultError read_denied, path_not_found, call_refused, sealed, … */
export type Ask = <T>(question: Question<T>, signal: AbortSignal) => Promise<T>

export function createAsk(
  deps: { connections: Connections; clock: Clock },
  identity: Identity,
  token: SecretText,
): Ask {
  const { connections, clock } = deps
  return ({ judge, refused, ...question }, signal) => {
    const facts = { ...factsOf(identity), path: question.path }
    const judgeAll = (answer: Answer) => {
      if (answer.status < 300) return judge(answer, facts)
      const meaning = refused?.(answer, { ...facts, ...answerFacts(answer) })
      if (meaning instanceof FaultError) throw meaning
      if (meaning !== undefined) return meaning.result
      throw callFault(answer, question, clock.now(), facts)
    }
    const { endpoint, podNamespace: asker } = identity
    return connections.call({ ...question, asker, endpoint, token, facts, judge: judgeAll }, signal)
  }
}
