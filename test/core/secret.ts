import { inspect } from 'node:util'
import t from 'tap'
import { SecretBytes, SecretText } from '../../src/core/secret.ts'

for (const [name, secret] of [
  ['SecretBytes', SecretBytes.fromText('canary')],
  ['SecretText', new SecretText('canary')],
] as const) {
  t.test(`${name} cannot be printed`, async (t) => {
    for (const shown of [
      String(secret),
      JSON.stringify({ secret }),
      inspect({ secret }, { depth: 9, showHidden: true }),
    ]) {
      t.notMatch(shown, /canary|99, ?97/)
      t.match(shown, '[secret]')
    }
    t.equal(secret.reveal().toString(), 'canary')
  })
}

t.test('two secrets compare by content', async (t) => {
  t.ok(SecretBytes.fromText('a').equals(Buffer.from('a')))
  t.notOk(new SecretText('a').equals(new SecretText('b')))
  t.equal(SecretBytes.fromText('é').byteLength, 2)
})
