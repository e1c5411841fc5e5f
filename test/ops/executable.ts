import { readlinkSync } from 'node:fs'
import t from 'tap'
import { createExecutableRelease, findRanges } from '../../src/ops/executable.ts'
import { readMemoryUse } from '../../src/ops/memory-release.ts'

const MIB = 2 ** 20

t.test('the executable is unmapped, and the pages in use return', (t) => {
  const release = createExecutableRelease()
  const before = readMemoryUse().file
  release()
  const after = readMemoryUse().file
  t.ok(after < before - 10 * MIB, `${before / MIB} MiB before, ${after / MIB} MiB after`)
  // Code and read-only data of all kinds: a regular expression, ICU, JSON, crypto.
  t.match('ab12', /^[a-z]+(?<digits>\d+)$/u)
  t.equal('ß'.localeCompare('ss', 'de', { sensitivity: 'base' }), 0)
  t.strictSame(JSON.parse('{"a":[1]}'), { a: [1] })
  release()
  t.match(crypto.randomUUID(), /^[0-9a-f-]{36}$/)
  t.end()
})

t.test('only pages equal to the file on disk are unmapped', (t) => {
  const node = '/bin/node'
  const mapping = (range: string, rights: string, path: string, anonymousKib: number) =>
    [
      `${range} ${rights} 00000000 fe:01 1835  ${path}`,
      'Size:                128 kB',
      'Rss:                 128 kB',
      `Anonymous:           ${anonymousKib} kB`,
      'AnonHugePages:         0 kB',
      'VmFlags: rd mr mw me',
    ].join('\n')
  const smaps = [
    mapping('00400000-00401000', 'r--p', node, 0),
    mapping('00401000-00404000', 'r-xp', node, 0),
    // Made read-only after the linker had written to it.
    mapping('00404000-00405000', 'r--p', node, 4),
    mapping('00405000-00406000', 'rw-p', node, 0),
    mapping('7f0000000000-7f0000001000', 'r-xp', '/lib/libc.so.6', 0),
    mapping('7f0000001000-7f0000002000', 'r--p', '', 0),
  ].join('\n')
  t.strictSame(findRanges(smaps, node), [
    { from: 0x400000, length: 0x1000 },
    { from: 0x401000, length: 0x3000 },
  ])
  t.strictSame(findRanges(smaps, readlinkSync('/proc/self/exe')), [])
  t.end()
})
