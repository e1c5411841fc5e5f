import t from 'tap'
import { issueRequestFor, readCall, sourceCall } from '../../../src/core/imports/calls.ts'

type Source = Parameters<typeof sourceCall>[0]

function source(changes: Partial<Source> = {}): Source {
  return {
    name: 'web',
    path: 'pki/issue/web',
    method: 'GET',
    version: undefined,
    data: undefined,
    lease: undefined,
    ...changes,
  }
}

t.test('reads of the same version of a path are one call, under any name', async (t) => {
  t.equal(sourceCall(source({ path: 'a' })).key, readCall('a').key)
  t.equal(sourceCall(source({ path: 'a', version: 2 })).key, readCall('a', 2).key)
  t.equal(readCall('a', 0).key, readCall('a').key, 'version 0 is the latest')
  t.not(readCall('a', 2).key, readCall('a', 3).key)
  t.equal(readCall('a', 2).key, 'a?version=2')
})

t.test('an issued call is unique by name, method, path and data', async (t) => {
  const issue = source({ method: 'PUT', data: { a: 1, b: { c: 2, d: [1, 2] } } })
  const others: Partial<Source>[] = [
    { name: 'other' },
    { method: 'POST' },
    { path: 'pki/issue/other' },
    { data: { a: 1 } },
    { data: { a: 1, b: { c: 2, d: [2, 1] } } },
    { data: undefined },
  ]
  const keys = [issue, ...others.map((change) => ({ ...issue, ...change }))].map((one) => sourceCall(one).key)
  t.equal(new Set(keys).size, keys.length)
  const turned = { ...issue, data: { b: { d: [1, 2], c: 2 }, a: 1 } }
  t.equal(sourceCall(turned).key, sourceCall(issue).key, 'the order in which fields are written is no matter')
})

t.test('everything but a plain GET is issued per volume', async (t) => {
  t.equal(readCall('a').isIssued, false)
  t.equal(sourceCall(source()).isIssued, false)
  t.equal(sourceCall(source({ method: 'POST' })).isIssued, true)
  const lease = { renewAt: undefined, revokeOnUnmount: undefined }
  t.match(sourceCall(source({ lease })), { isIssued: true, renewAt: 66, revokeOnUnmount: true })
  const other = { renewAt: 30, revokeOnUnmount: false }
  t.match(sourceCall(source({ lease: other })), { isIssued: true, renewAt: 30, revokeOnUnmount: false })
  t.match(issueRequestFor(sourceCall(source({ lease: other }))), {
    kind: 'call',
    renewAt: 30,
    revokeOnUnmount: false,
  })
})
