import t from 'tap'
import { matchKeys, patternFault } from '../../../src/core/imports/key-pattern.ts'

t.test('a pattern matches anywhere in a key, unless it is anchored', async (t) => {
  t.strictSame(matchKeys('B', ['AB', 'b', 'BC']), new Set(['AB', 'BC']))
  t.strictSame(matchKeys('^[A-Z_]+$', ['A_B', 'A-B', 'a']), new Set(['A_B']))
  t.strictSame(matchKeys('^.$', ['😀', 'ab']), new Set(['😀']), 'a character is a character, not half of one')
  t.strictSame(matchKeys('x', []), new Set())
})

t.test('ten thousand keys are matched quickly', async (t) => {
  const keys = Array.from({ length: 10_000 }, (_, at) => `KEY_${at}`)
  t.equal(matchKeys('^KEY_\\d+$', keys).size, 10_000)
})

t.test('an invalid pattern is a fault', async (t) => {
  for (const pattern of ['(', '*', '[z-a]', '\\', '\\k', '(?<=', 'a{2,1}']) {
    t.equal(patternFault(pattern), `must be a JavaScript regular expression, is ${JSON.stringify(pattern)}`)
  }
  for (const pattern of ['', '^a$', '\\p{Lu}', '(?!x)']) t.equal(patternFault(pattern), undefined)
})
