import type { Facts } from '../../core/faults/facts.ts'
import { FaultError } from '../../core/faults/fault.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { Identity, VaultEndpoint } from '../../core/ports/vault.ts'
import type { Connections } from '../../vault/connections.ts'
import { isBareDenial, loginFault, UNKNOWN_ROLE } from '../../vault/login-faults.ts'
import { identityFacts } from '../../vault/request.ts'
import type { Answer } from '../../vault/transport.ts'
import { ok, skipped, type Verdict } from './report.ts'

/** Not a JWT: Vault looks up mount and role, then rejects it without a call elsewhere. */
const NO_TOKEN = 'none'

type Deps = { connections: Connections; clock: Pick<Clock, 'now'> }

/**
 * Whether an auth method answers at the mount: it rejects a login without role and token for the missing fields.
 * @param who.method how the import logs in; without one, any method passes
 * @throws FaultError login_mount, and those of the server's state
 */
export async function checkAuthMount(
  deps: Deps,
  { endpoint, authMount, method }: Pick<Identity, 'endpoint' | 'authMount'> & Pick<Facts, 'method'>,
  signal: AbortSignal,
): Promise<Verdict> {
  const { address, namespace } = endpoint
  const known = { ...(method && { method }), ...(namespace && { vaultNamespace: namespace }) }
  const facts = { address, authMount, ...known }
  const fault = await refusal(deps, { endpoint, authMount, body: {}, facts }, signal)
  if (fault !== undefined && isBareDenial(fault)) throw new FaultError('login_mount', fault.facts)
  throwUnlessDenied(fault)
  return ok(`auth/${authMount} answers`)
}

/**
 * Whether the role exists at the mount. Only a login shows who may use it.
 * @throws FaultError login_denied when it does not exist, login_mount, and those of the server's state
 */
export async function checkRole(deps: Deps, identity: Identity, signal: AbortSignal): Promise<Verdict> {
  const { endpoint, authMount, role, method } = identity
  // This is not a login, so no audience is tried; the account is for the suggested command that binds it.
  const { audience: _unused, ...known } = identityFacts(identity)
  const facts = { ...known, serviceAccount: identity.serviceAccount || 'NAME' }
  // A made-up secret ID would count as a failed login, and Vault locks the AppRole after a few of them.
  const body = method === 'approle' ? {} : { role, jwt: NO_TOKEN }
  const fault = await refusal(deps, { endpoint, authMount, body, facts }, signal)
  throwUnlessDenied(fault)
  if (method === 'approle')
    return skipped(`auth/${authMount} is an AppRole mount; only a login can check more`)
  if (fault?.facts.reason === UNKNOWN_ROLE) throw fault
  // Both methods look the role up before the token; after that `kubernetes` denies without a reason.
  return ok(`auth/${authMount} has role "${role}"; only a login shows who may use it`)
}

async function refusal(
  { connections, clock }: Deps,
  login: { endpoint: VaultEndpoint; authMount: string; body: object; facts: Facts },
  signal: AbortSignal,
): Promise<FaultError | undefined> {
  const { endpoint, authMount, body, facts } = login
  const parse = (answer: Answer) => (answer.status < 300 ? undefined : loginFault(answer, clock.now(), facts))
  const path = `auth/${authMount}/login`
  return connections.call(
    { operation: 'probe', asker: '', endpoint, method: 'POST', path, body, facts, parse },
    signal,
  )
}

/** A denied login is the expected result; a fault of the server's state is not. */
function throwUnlessDenied(fault: FaultError | undefined): void {
  const isOfState = ['login_mount', 'sealed', 'standby', 'rate_limited'].includes(fault?.fault ?? '')
  if (isOfState) throw fault
}
