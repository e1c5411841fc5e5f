import { spawnSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { shellLine, shellQuote } from '../../../src/core/render/shell.ts'
import { seeded, trickyText } from '../../harness/random.ts'

/** The shells on this machine, which always has `sh`. */
const shells = [
  ['sh'],
  ['dash'],
  ['bash', '--norc', '--posix'],
  ['bash', '--norc'],
  ['busybox', 'sh'],
  ['ksh'],
  ['zsh'],
].filter(([command = '']) => spawnSync(command, ['-c', ':'], { stdio: 'ignore' }).error === undefined)

/** Environment of a program that the shell starts after sourcing the file. */
function sourcedBy(t: Test, [command = '', ...options]: string[], file: string): Map<string, string> {
  const path = join(mkdtempSync(join(tmpdir(), 'shell-')), 'app.env')
  t.teardown(() => spawnSync('rm', ['-r', join(path, '..')]))
  writeFileSync(path, file)
  const { stdout, stderr, status } = spawnSync(command, [...options, '-ec', '. "$0"; exec env -0', path], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH ?? '', HOME: 'not this' },
  })
  t.strictSame([status, stderr], [0, ''])
  return new Map(stdout.split('\0').map((entry) => [entry.replace(/=.*/s, ''), entry.replace(/^[^=]*=/, '')]))
}

function fileOf(values: ReadonlyMap<string, string>): string {
  return [...values]
    .map(([key, value]) => {
      const line = shellLine(key, value)
      return 'line' in line ? `${line.line}\n` : t.fail(line.fault)
    })
    .join('')
}

const random = seeded(11)
const values = new Map([
  ['EMPTY', ''],
  ['BLANKS', '  both ends  '],
  ['LINES', '\n-----BEGIN KEY-----\nabc\n-----END KEY-----\n'],
  ['QUOTES', `'"'"'\`"`],
  ['EXPANSIONS', `$HOME \${HOME} $(id) \`id\` ~ * ? [a-z] {a,b} !! \\ \\n`],
  ['RETURNS', 'a\r\nb\r'],
  ['ASTRAL', '😀 漢 é'],
  ['_', 'overwritten by the shell'],
  ...Array.from({ length: 300 }, (_, at) => [`R${at}`, trickyText(random)] as const),
])

for (const shell of shells) {
  t.test(`${shell.join(' ')} reads the values back`, async (t) => {
    const read = sourcedBy(t, shell, fileOf(values))
    for (const [key, value] of values) if (key !== '_') t.equal(read.get(key), value, key)
  })
}

t.test('a quoted text is one word', async (t) => {
  const words = ["it's", '', 'a b', '-n', '$x', 'a\nb']
  const script = `printf '%s\\0' ${words.map(shellQuote).join(' ')}`
  const { stdout } = spawnSync('sh', ['-c', script], { encoding: 'utf8' })
  t.strictSame(stdout.split('\0').slice(0, -1), words)
})
