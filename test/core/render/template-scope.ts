import t from 'tap'
import { ExactNumber, templateScope } from '../../../src/core/render/template-scope.ts'
import { secretOf } from '../../harness/specs.ts'

t.test('a named source wins over a key of the same name', async (t) => {
  const own = secretOf('{"user":"u","data":"own data","web":"own web"}').values
  const scope = templateScope(own, new Map([['web', secretOf('{"a":"1"}').values]]))
  t.same(scope, { user: 'u', data: { user: 'u', data: 'own data', web: 'own web' }, web: { a: '1' } })
})

t.test('nothing in a scope has a prototype, and no key gives it one', async (t) => {
  const own = secretOf(
    '{"__proto__":{"polluted":true},"a":{"__proto__":{"polluted":true}},"l":[{"b":1}]}',
  ).values
  const scope = templateScope(own, new Map([['__proto__', secretOf('{"x":"1"}').values]]))
  const { data, a, l } = scope as Record<string, Record<string, unknown>>
  for (const object of [scope, data, a, l?.[0]]) t.equal(Object.getPrototypeOf(object), null)
  t.strictSame(Object.keys(scope), ['__proto__', 'a', 'l', 'data'])
  t.notOk('polluted' in scope || 'polluted' in (a ?? {}))
  t.equal(Reflect.get({}, 'polluted'), undefined)
})

t.test('a number becomes a JavaScript number only if it prints the same', async (t) => {
  const numbers = ['0', '5', '-1.5', '1.10', '1.0', '-0', '1e3', '9007199254740993', '1e400']
  const { list } = templateScope(secretOf(`{"list":[${numbers}]}`).values, new Map()) as { list: unknown[] }
  t.strictSame(list.slice(0, 3), [0, 5, -1.5])
  t.ok(list.slice(3).every((number) => number instanceof ExactNumber))
  t.equal(list.join(), numbers.join())
  t.equal(JSON.stringify(list), `[${numbers}]`)
})
