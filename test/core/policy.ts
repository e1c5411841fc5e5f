import t from 'tap'
import { checkPolicy } from '../../src/core/policy.ts'
import { importSpec } from '../fakes/imports.ts'
import { faulty } from '../support/faulty.ts'
import { settings } from '../support/flow-bench.ts'

const VAULT = 'https://vault.example.org'

t.test('what a node allows', async (t) => {
  t.doesNotThrow(() => checkPolicy(importSpec(), settings()))
  t.doesNotThrow(() => checkPolicy(importSpec({ address: `${VAULT}/` }), settings({ vaultAddr: VAULT })))
  t.doesNotThrow(() =>
    checkPolicy(importSpec({ address: 'https://b' }), settings({ allowAddress: ['https://b/'] })),
  )
  t.doesNotThrow(() => checkPolicy(importSpec({ address: 'https://b' }), settings({ allowAddress: ['*'] })))
  const plain = { address: 'http://a' }
  t.doesNotThrow(
    () => checkPolicy(importSpec(plain), settings({ vaultAddr: 'http://a' })),
    "the operator's own",
  )
  t.doesNotThrow(() => checkPolicy(importSpec(plain), settings({ allowAddress: ['*'], allowHttp: true })))
  t.doesNotThrow(() => checkPolicy(importSpec({ skipTLSVerify: true }), settings({ allowSkipVerify: true })))
  t.doesNotThrow(() => checkPolicy(importSpec({ refreshIntervalMs: 10_000 }), settings()))
})

t.test('what it refuses, with the flag that allows it', async (t) => {
  const refused = (
    spec: Parameters<typeof importSpec>[0],
    over: Parameters<typeof settings>[0],
    flag: RegExp,
  ) => t.throws(() => checkPolicy(importSpec(spec), settings(over)), faulty('policy_refused', flag))
  refused({ address: 'https://evil' }, {}, /https:\/\/evil.*--allow-address=https:\/\/evil/)
  refused({ address: 'https://evil' }, { vaultAddr: undefined }, /--allow-address/)
  refused({ address: 'http://b' }, { allowAddress: ['*'] }, /--allow-http/)
  refused({ skipTLSVerify: true }, {}, /--allow-skip-verify/)
  refused({ refreshIntervalMs: 9_999 }, {}, /floor of 10s.*--min-refresh-interval/)
})
