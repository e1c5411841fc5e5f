import t from 'tap'
import { scrub } from '../../../src/core/faults/fault.ts'
import { describeAnswer } from '../../../src/kube/failure.ts'
import { toLoggable } from '../../../src/ops/loggable.ts'
import { errorText, warningFacts } from '../../../src/vault/faults.ts'
import type { Answer } from '../../../src/vault/transport.ts'

/** Milliseconds of CPU, with reserve for slow machines; quadratic patterns took seconds. */
const SOON = 50
const SIZE = 1_000_000

const answer = (body: Answer['body']): Answer => ({
  status: 400,
  body,
  retryAfter: undefined,
  location: undefined,
})

const readers: [string, (text: string) => unknown][] = [
  ['scrub', scrub],
  ["Vault's errors", (text) => errorText(answer({ errors: [text] }))],
  ["many of Vault's errors", (text) => errorText(answer({ errors: text.match(/.{1,100}/gs) ?? [] }))],
  ["Vault's warnings", (text) => warningFacts(answer({ warnings: [text] }))],
  ['a log field', toLoggable],
  ["the API server's message", (text) => describeAnswer({ status: 403, body: { message: text } } as never)],
]

for (const unit of [
  '1',
  'eyJ-',
  'eyJa.',
  's.',
  'hvs.',
  ' ',
  '\n',
  '1 error occurred:',
  's.aaaaaaaaaaaaaaaaaaa ',
  '😀',
]) {
  t.test(`${SIZE} characters of ${JSON.stringify(unit)} are cut before a pattern is applied`, async (t) => {
    const text = unit.repeat(SIZE / unit.length)
    for (const [name, read] of readers) {
      const before = process.threadCpuUsage()
      const shown = JSON.stringify(read(text))
      const { user, system } = process.threadCpuUsage(before)
      t.ok((user + system) / 1000 < SOON, `${name}: ${(user + system) / 1000} ms of CPU`)
      t.ok(shown.length < 40_000, `${name}: ${shown.length} characters`)
    }
  })
}

const token = `s.${'A'.repeat(24)}`
const jwt = `eyJhbGciOiJSUzI1NiJ9.${'b'.repeat(300)}.${'c'.repeat(300)}`

t.test('a token is removed wherever the text is cut', async (t) => {
  for (const secret of [token, `hvs.${'Q'.repeat(90)}`, `b.${'x'.repeat(200)}`, jwt]) {
    for (const length of [500, 4096, 16_384]) {
      // Blanks collapse, so that the text at the cut is shown; words fill the shown part.
      for (const filler of [' ', 'word ']) {
        for (let before = length - secret.length - 5; before < length + 5; before++) {
          const text = `${filler.repeat(length).slice(0, before - 1)} ${secret} and more`.padEnd(20_000, '.')
          const shown = scrub(text) + JSON.stringify(toLoggable(text)) + errorText(answer({ errors: [text] }))
          if (/\b(s|b|hvs)\.[\w-]|eyJ[\w-]/.test(shown))
            t.fail(`${secret.slice(0, 4)} at ${before}: ${shown.slice(-80)}`)
        }
      }
    }
  }
})

t.test('ordinary text is unchanged', async (t) => {
  t.equal(
    errorText(answer({ errors: ['1 error occurred:\n\t* permission denied\n\n'] })),
    'permission denied',
  )
  t.equal(
    errorText(answer({ errors: ['a', 7, '2 errors occurred:\n\t* one\n\t* two\n\n', 'b'] as never })),
    'a; one * two ; b',
  )
  t.equal(scrub(`a  ${token}\n${jwt} b`), 'a [token] [token] b')
  t.equal(
    scrub('see https://vault.example.org/s.html and b.txt'),
    'see https://vault.example.org/s.html and b.txt',
  )
  t.equal(scrub('x'.repeat(5_000)).length, 500)
})
