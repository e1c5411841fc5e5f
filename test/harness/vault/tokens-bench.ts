import type { Test } from 'tap'
import { FakeClock } from '../../fakes/clock.ts'
import { authAnswer, type FakeAnswer, type SeenRequest, startFakeVault } from '../../fakes/fake-vault.ts'
import { createVaultBench, patient, testIdentity, testToken } from './vault-bench.ts'

export const LOGIN = 'auth/jwt/login'
export const RENEW = 'auth/token/renew-self'
export const REVOKE = 'auth/token/revoke-self'

/** A store before a Vault that gives tokens t1, t2, … and lets every one of them read. */
export async function tokensBench(t: Test, lease: { seconds?: number; renewable?: boolean } = {}) {
  let count = 0
  const rules: Record<string, (request: SeenRequest) => FakeAnswer | Promise<FakeAnswer> | undefined> = {
    [LOGIN]: () => authAnswer(`t${++count}`, lease),
    [RENEW]: ({ headers }) => authAnswer(String(headers['x-vault-token']), lease),
    [REVOKE]: () => ({ status: 204 }),
  }
  const vault = await startFakeVault((request) =>
    rules[request.path] ? rules[request.path]!(request) : { body: { data: { key: 'value' } } },
  )
  const clock = new FakeClock()
  const { store, log, meter } = createVaultBench(clock)
  t.teardown(async () => {
    await store.close()
    await vault.close()
  })
  const identity = testIdentity(vault.address)
  const sa = testToken('sa-1')
  const read = (path = 'kv1/app', tokens = [sa], signal = patient) =>
    store.read(identity, path, tokens, signal)
  const tokensSeen = () =>
    vault.requests
      .filter(({ path }) => path.startsWith('kv1/'))
      .map(({ headers }) => headers['x-vault-token'])
  return { vault, clock, store, log, meter, identity, rules, read, tokensSeen, sa }
}

/** A promise to be settled by hand. */
export function deferred<T>() {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

/** Turns of the event loop in which a call over loopback and its answer arrive, however busy the machine is. */
export async function moment(): Promise<void> {
  for (let turn = 0; turn < 15; turn++) await new Promise((resolve) => setTimeout(resolve, 2))
}

/** Vault's answer to a login with a token of the wrong pod. */
export const denial: FakeAnswer = {
  status: 400,
  body: { errors: ['error validating token: invalid subject (sub) claim'] },
}
