import t from 'tap'
import { SecretBytes } from '../../src/core/secret.ts'
import { checkCapacity } from '../../src/volume/layout.ts'
import { faulty } from '../harness/faulty.ts'

const room = { sizeBytes: 4 * 4096, pageBytes: 4096, copies: 2, reason: 'two' } as const

function files(sizes: Record<string, number>) {
  return Object.entries(sizes).map(([name, bytes]) => ({
    name,
    content: new SecretBytes(Buffer.alloc(bytes)),
    mode: 0o640,
    uid: 0,
    gid: 0,
  }))
}

t.test('every file is counted in whole pages, every copy', async (t) => {
  t.doesNotThrow(() => checkCapacity(files({ a: 4096, b: 1 }), room))
  t.doesNotThrow(() => checkCapacity(files({ a: 1, b: 4096, empty: 0 }), room))
  t.throws(() => checkCapacity(files({ a: 4097, b: 1 }), room), faulty('volume_full', /24576.*16384 \(two\)/))
  t.throws(() => checkCapacity(files({ a: 1, b: 1, c: 1 }), room), faulty('volume_full'))
  t.doesNotThrow(() => checkCapacity(files({ a: 1, b: 1, c: 1, d: 1 }), { ...room, copies: 1 }))
})

t.test('a link with a long target takes a page', async (t) => {
  const linked = { ...room, linkPrefix: '..data/' }
  t.doesNotThrow(() => checkCapacity(files({ ['n'.repeat(120)]: 8192 }), linked))
  t.throws(() => checkCapacity(files({ ['n'.repeat(121)]: 8192 }), linked), faulty('volume_full'))
})
