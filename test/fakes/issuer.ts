import type { FaultError } from '../../src/core/faults/fault.ts'
import type { IssueRequest } from '../../src/core/imports/calls.ts'
import { parseJson } from '../../src/core/json/json.ts'
import type { Json } from '../../src/core/json/types.ts'
import { toValues } from '../../src/core/json/value.ts'
import type { Clock } from '../../src/core/ports/clock.ts'
import type { IssueResponse, Issuer, Lease, LeaseToken, Revoked } from '../../src/core/ports/leases.ts'
import type { ServiceAccountToken } from '../../src/core/ports/pod.ts'
import type { Identity, VaultLease } from '../../src/core/ports/vault.ts'
import { SecretText } from '../../src/core/secret.ts'

type Life = { durationMs: number; renewable: boolean }
type Step = 'logIn' | 'issue' | 'renew' | 'revoke'

/**
 * A Vault that issues: the Nth login gives the token `own-N`, the Nth issue values of `<path>-N` (`token-N` and
 * `secret-id-N` for credentials). Lives are as set when it is asked.
 */
export class FakeIssuer implements Issuer {
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>
  #logins = 0
  #issues = 0
  /** Of the next login. */
  token: Life & { isBatch: boolean } = { durationMs: 60 * 60_000, renewable: true, isBatch: false }
  /** Of the next call; undefined: no lease. A lease ends with its token. */
  lease: Life | undefined = { durationMs: 30 * 60_000, renewable: true }
  /** After how many milliseconds it ends whatever is renewed; undefined: never. */
  endsAfterMs: number | undefined
  /** Keys of an answer, by path; others have `username` and `password`. */
  readonly keys = new Map<string, readonly string[]>()
  /** How many renewals Vault still grants. */
  renewalsLeft = Number.POSITIVE_INFINITY
  /** Makes a step fail until it is cleared. */
  readonly failWith: Partial<Record<Step, FaultError>> = {}
  /** Makes the issue of one path or credential fail until it is cleared. */
  readonly failPath = new Map<string, FaultError>()
  /** Awaited by every step: lets a test hold Vault's answers back. */
  held: Promise<void> = Promise.resolve()
  /** Every step in order: `logIn <identity key>`, `issue <path>`, `renew <path>`, `revoke <path>`. */
  readonly steps: string[] = []
  readonly tokensAlive = new Set<string>()
  /** By lease ID the token on which it hangs. */
  readonly leasesAlive = new Map<string, string>()
  /** Tokens in the order in which they were revoked. */
  readonly revoked: string[] = []

  constructor(clock: Pick<Clock, 'now' | 'monotonic'>) {
    this.#clock = clock
  }

  /** How often a step was taken: `count('issue database/creds/app')`, `count('revoke')`. */
  count(step: string): number {
    return this.steps.filter((one) => one === step || one.startsWith(`${step} `)).length
  }

  async logIn(
    identity: Identity,
    _tokens: readonly ServiceAccountToken[],
    signal: AbortSignal,
  ): Promise<LeaseToken> {
    await this.#step('logIn', identity.key, signal)
    this.#logins += 1
    const text = `own-${this.#logins}`
    this.tokensAlive.add(text)
    const leasedAt = this.#clock.monotonic()
    return { token: new SecretText(text), accessor: `accessor-${this.#logins}`, leasedAt, ...this.token }
  }

  async issue(
    _identity: Identity,
    token: LeaseToken,
    request: IssueRequest,
    signal: AbortSignal,
  ): Promise<IssueResponse> {
    await this.#step('issue', pathOf(request), signal)
    const failure = this.failPath.get(pathOf(request))
    if (failure) throw failure
    this.#issues += 1
    const lease = request.kind === 'call' ? this.#newLease(pathOf(request), token) : undefined
    const expiresAt = this.endsAfterMs === undefined ? undefined : this.#clock.now() + this.endsAfterMs
    return {
      data: { values: toValues(Object.fromEntries(this.#values(request, token))), version: undefined },
      vaultLease: lease,
      expiresAt: request.kind === 'token' ? undefined : expiresAt,
      needsToken: request.kind !== 'call' || lease !== undefined,
    }
  }

  async renew(lease: Lease, signal: AbortSignal): Promise<Pick<Lease, 'token' | 'vaultLease'> | undefined> {
    await this.#step('renew', pathOf(lease.request), signal)
    const { token, vaultLease, expiresAt } = lease
    const isAlive = token === undefined || this.tokensAlive.has(token.token.reveal())
    const isLeased = vaultLease === undefined || this.leasesAlive.has(vaultLease.id)
    const isRenewable = (token?.renewable ?? true) && (vaultLease?.renewable ?? true)
    if (!isAlive || !isLeased || !isRenewable || expiresAt !== undefined || this.renewalsLeft <= 0) {
      return undefined
    }
    this.renewalsLeft -= 1
    const leasedAt = this.#clock.monotonic()
    return { token: token && { ...token, leasedAt }, vaultLease: vaultLease && { ...vaultLease, leasedAt } }
  }

  async revoke(lease: Lease, signal: AbortSignal): Promise<Revoked> {
    await this.#step('revoke', pathOf(lease.request), signal)
    const text = lease.token?.token.reveal()
    if (text === undefined || !this.tokensAlive.delete(text)) return 'unknown'
    this.revoked.push(text)
    for (const [id, owner] of this.leasesAlive) if (owner === text) this.leasesAlive.delete(id)
    return 'revoked'
  }

  async #step(step: Step, what: string, signal: AbortSignal): Promise<void> {
    this.steps.push(`${step} ${what}`)
    await this.held
    signal.throwIfAborted()
    const failure = this.failWith[step]
    if (failure) throw failure
  }

  #newLease(path: string, token: LeaseToken): VaultLease | undefined {
    if (this.lease === undefined) return undefined
    const id = `${path}/lease-${this.#issues}`
    this.leasesAlive.set(id, token.token.reveal())
    return { id, leasedAt: this.#clock.monotonic(), ...this.lease }
  }

  #values(request: IssueRequest, token: LeaseToken): [string, Json][] {
    const seconds = (ms: number) => parseJson(String(ms === Number.POSITIVE_INFINITY ? 0 : ms / 1000))
    const number = this.#issues
    if (request.kind === 'token') {
      return [
        ['clientToken', token.token.reveal()],
        ['accessor', token.accessor],
        ['leaseDuration', seconds(token.durationMs)],
        ['renewable', token.renewable],
      ]
    }
    if (request.kind === 'secret-id') {
      const roleId: [string, Json] = ['roleId', `role-id-of-${request.role}`]
      if (request.isWrapped)
        return [roleId, ['wrappedSecretId', `wrapped-${number}`], ['ttl', seconds(60_000)]]
      return [roleId, ['secretId', `secret-id-${number}`], ['accessor', `secret-id-accessor-${number}`]]
    }
    const path = pathOf(request)
    return (this.keys.get(path) ?? ['username', 'password']).map((key) => [key, `${path}-${number}`])
  }
}

/** How steps and failPath name an issue request. */
function pathOf(request: IssueRequest): string {
  return request.kind === 'call' ? request.call.path : request.key
}
