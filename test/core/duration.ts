import t from 'tap'
import { formatDuration, parseDuration } from '../../src/core/duration.ts'

t.test('durations are parsed as Go does', async (t) => {
  for (const [text, ms] of [
    ['0', 0],
    ['0s', 0],
    ['30s', 30_000],
    ['2m', 120_000],
    ['1m30s', 90_000],
    ['1h1m1s1ms', 3_661_001],
    ['500ms', 500],
    ['1.5h', 5_400_000],
    ['.5s', 500],
    ['1.s', 1000],
    ['1500us', 2],
    ['1500µs', 2],
    ['2000000ns', 2],
    ['1s1m', 61_000],
  ] as const) {
    t.equal(parseDuration(text), ms, text)
  }
})

t.test('a text that Go refuses is not a duration', async (t) => {
  for (const text of [
    '',
    ' ',
    '30',
    's',
    '1 s',
    '1s ',
    '-1s',
    '+1s',
    '1d',
    '1m30',
    '1:30',
    '1,5s',
    '.s',
    '1e3s',
    '1S',
    `${'9'.repeat(30)}h`,
  ]) {
    t.equal(parseDuration(text), undefined, JSON.stringify(text))
  }
})

t.test('every duration survives formatting and parsing', async (t) => {
  let seed = 1
  for (let round = 0; round < 2000; round++) {
    seed = (seed * 48271) % 2147483647
    const ms = seed % 400_000_000
    const text = formatDuration(ms)
    if (parseDuration(text) !== ms) t.fail(`${ms} became ${text}`)
  }
  t.equal(formatDuration(90_000), '1m30s')
  t.equal(formatDuration(0), '0s')
})
