import { FaultError } from '../core/faults/fault.ts'
import type { SyncedSecret } from '../core/ports/kubernetes.ts'
import type { Answer, KubeClient } from './client.ts'
import { describeAnswer, describeError, fieldOf, isPassing } from './failure.ts'
import type { Call } from './http.ts'
import type { SecretContent } from './secret-content.ts'
import { type FoundSecret, type Holder, readSecret, type Writer } from './secret-object.ts'

const ENABLE = 'secretSync.enabled=true in the Helm values (get, create and patch on secrets, get on pods)'
/** For the admission plugin OwnerReferencesPermissionEnforcement, which some distributions enable. */
const OWNERS_ENFORCED = 'secretSync.grantDelete=true in the Helm values (delete on secrets)'

/** The API calls of syncing one Secret. All throw FaultError sync_* or the signal's reason. */
export type SecretCalls = {
  find(signal: AbortSignal): Promise<FoundSecret | undefined>
  /** False: another node was faster, find it again. */
  create(body: object, signal: AbortSignal): Promise<boolean>
  /** False: it changed since it was found, find it again. */
  patch(body: object, signal: AbortSignal): Promise<boolean>
  /** Whether the pod was deleted or has ended for good, so that its leases are revoked. */
  isGone(holder: Holder, signal: AbortSignal): Promise<boolean>
}

export function createSecretCalls(
  client: KubeClient,
  wanted: SyncedSecret,
  content: SecretContent,
  writer: Writer,
): SecretCalls {
  const namespace = `/api/v1/namespaces/${encodeURIComponent(wanted.namespace)}`
  const path = `${namespace}/secrets/${encodeURIComponent(wanted.name)}`
  const secret = `${wanted.namespace}/${wanted.name}`

  async function send(call: Call, signal: AbortSignal): Promise<Answer> {
    try {
      return await client.call(call, signal)
    } catch (error) {
      signal.throwIfAborted()
      const reason = `the API server at ${client.server}: ${describeError(error)}`
      throw new FaultError('sync_unavailable', { secret, reason }, error)
    }
  }

  function refusal(answer: Answer): FaultError {
    const words = describeAnswer(withoutValues(answer, content))
    const reason = `the API server answered ${words}`
    if (isPassing(answer) || answer.status === 401) {
      const { retryAfterMs } = answer
      return new FaultError('sync_unavailable', {
        secret,
        reason,
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      })
    }
    if (answer.status === 422) return new FaultError('sync_invalid', { secret, reason: invalidWords(answer) })
    if (/you can't delete/.test(words)) {
      return new FaultError('sync_unavailable', { secret, reason, setting: OWNERS_ENFORCED })
    }
    if (/ cannot \w+ resource /.test(words)) {
      return new FaultError('sync_unavailable', { secret, reason, setting: ENABLE })
    }
    // A quota, an admission webhook, a namespace that is being deleted.
    const setting = 'see what refuses it there: a quota or an admission policy of the namespace'
    return new FaultError('sync_refused', { secret, reason, setting })
  }

  return {
    async find(signal) {
      const answer = await send({ method: 'GET', path }, signal)
      if (answer.status === 404) return undefined
      if (answer.status !== 200) throw refusal(answer)
      return readSecret(answer.body, writer)
    },
    async create(body, signal) {
      const answer = await send({ method: 'POST', path: `${namespace}/secrets`, body }, signal)
      if (answer.status === 409) return false
      if (answer.status !== 201) throw refusal(answer)
      return true
    },
    async patch(body, signal) {
      const contentType = 'application/strategic-merge-patch+json'
      const answer = await send({ method: 'PATCH', path, body, contentType }, signal)
      if (answer.status === 409 || answer.status === 404) return false
      // Another Secret has the name now: a UID does not change.
      if (answer.status === 422 && invalidFields(answer).includes('metadata.uid')) return false
      if (answer.status !== 200) throw refusal(answer)
      return true
    },
    async isGone({ name, uid }, signal) {
      const podPath = `${namespace}/pods/${encodeURIComponent(name)}`
      const answer = await send({ method: 'GET', path: podPath }, signal)
      if (answer.status === 404) return true
      if (answer.status !== 200) throw refusal(answer)
      const phase = fieldOf(fieldOf(answer.body, 'status'), 'phase')
      return (
        fieldOf(fieldOf(answer.body, 'metadata'), 'uid') !== uid ||
        phase === 'Succeeded' ||
        phase === 'Failed'
      )
    },
  }
}

/** Before the message is cut to a line: half a value would not be found in it. */
function withoutValues(answer: Answer, { hide }: SecretContent): Answer {
  const message = fieldOf(answer.body, 'message')
  const hidden = typeof message === 'string' ? hide(message) : undefined
  return { ...answer, body: { reason: fieldOf(answer.body, 'reason'), message: hidden } }
}

/** Fields and kinds of fault only: the message of this answer quotes values. */
function invalidWords(answer: Answer): string {
  const causes = causesOf(answer).map(
    (cause) => `${String(fieldOf(cause, 'field'))} (${String(fieldOf(cause, 'reason'))})`,
  )
  return `the API server answered 422 Invalid${causes.length > 0 ? `: ${causes.join(', ')}` : ''}`
}

function invalidFields(answer: Answer): unknown[] {
  return causesOf(answer).map((cause) => fieldOf(cause, 'field'))
}

function causesOf({ body }: Answer): unknown[] {
  const causes = fieldOf(fieldOf(body, 'details'), 'causes')
  return Array.isArray(causes) ? causes : []
}
