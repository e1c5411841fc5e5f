import { readFileSync } from 'node:fs'
import t from 'tap'
import { errorCode, hasCode, ignoreCode, ignoreErrors } from '../../src/core/errno.ts'

const missing = () => readFileSync('/proc/none')

t.test('the code of a system error is its errno name, and other errors have none', async (t) => {
  t.equal(errorCode(errorOf(missing)), 'ENOENT')
  for (const other of [new Error('no code'), Object.assign(new Error('gRPC'), { code: 5 }), 'ENOENT', null]) {
    t.equal(errorCode(other), undefined)
  }
})

t.test('an error has one of the codes or none of them', async (t) => {
  const error = errorOf(missing)
  t.ok(hasCode(error, 'EEXIST', 'ENOENT'))
  t.notOk(hasCode(error, 'EEXIST'))
  t.notOk(hasCode(error))
  t.notOk(hasCode(new Error('no code'), 'undefined'))
})

t.test('only the named codes are ignored', async (t) => {
  t.equal(
    ignoreCode(['ENOENT'], () => 'result'),
    'result',
  )
  t.equal(ignoreCode(['EEXIST', 'ENOENT'], missing), undefined)
  t.throws(() => ignoreCode(['EEXIST'], missing), { code: 'ENOENT' })
})

t.test('any error can be ignored', async (t) => {
  t.equal(
    ignoreErrors(() => 'result'),
    'result',
  )
  t.equal(
    ignoreErrors(() => {
      throw 'a string'
    }),
    undefined,
  )
})

function errorOf(work: () => unknown): unknown {
  try {
    return work()
  } catch (error) {
    return error
  }
}
