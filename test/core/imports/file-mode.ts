import t from 'tap'
import { parseMode } from '../../../src/core/imports/file-mode.ts'

t.test('a number is the bits, a string is octal', async (t) => {
  for (const [value, mode] of [
    [0, 0],
    [0o400, 0o400],
    [0o777, 0o777],
    ['0400', 0o400],
    ['0o640', 0o640],
    ['00', 0],
    ['0777', 0o777],
  ] as const) {
    t.same(parseMode(value), { mode })
  }
})

t.test('an invalid mode says why', async (t) => {
  for (const [value, words] of [
    [0o1000, 'between 0 and 0777'],
    [-1, 'between 0 and 0777'],
    [644, 'write 0644'],
    ['400', 'leading zero'],
    ['0888', 'octal'],
    ['04777', 'between 0 and 0777'],
    ['', 'octal'],
    [1.5, 'whole number'],
    [Number.NaN, 'whole number'],
    [true, 'whole number'],
    [null, 'whole number'],
    [{}, 'whole number'],
  ] as const) {
    const parsed = parseMode(value)
    t.match('fault' in parsed ? parsed.fault : '', words, String(value))
  }
})
