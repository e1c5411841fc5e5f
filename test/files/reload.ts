import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { watchFile } from '../../src/files/reload.ts'
import { createClock } from '../../src/ops/clock.ts'
import { FakeLog } from '../fakes/log.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'
import { until } from '../harness/until.ts'

const [first, second, third] = ['first', 'second', 'third'].map(
  (name) => createCertificateAuthority(name).certificate,
)

function directoryFor(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'reload-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  return path
}

async function follow(t: Test, path: string) {
  const log = new FakeLog()
  const contents: string[] = []
  const watched = await watchFile(path, (pem) => contents.push(pem), { log, clock: createClock() })
  t.teardown(() => watched.close())
  return { log, contents }
}

t.test(
  'the first content is there at once, each new one follows, the same one is not told again',
  async (t) => {
    const path = join(directoryFor(t), 'ca.pem')
    writeFileSync(path, first!)
    const { contents } = await follow(t, path)
    t.same(contents, [first])
    writeFileSync(path, second!)
    await until('the content', () => contents.length === 2)
    writeFileSync(path, second!)
    writeFileSync(`${path}.new`, third!)
    renameSync(`${path}.new`, path)
    await until('the content', () => contents.length === 3)
    t.same(contents, [first, second, third])
  },
)

t.test('a file that becomes invalid or is deleted leaves the last good content, and is logged', async (t) => {
  const path = join(directoryFor(t), 'ca.pem')
  writeFileSync(path, first!)
  const { log, contents } = await follow(t, path)
  writeFileSync(path, 'canary')
  await until('the log line', () => log.messages('error').length === 1)
  rmSync(path)
  await until('the log line', () => log.messages('error').length === 2)
  t.same(contents, [first])
  t.notMatch(log.text, 'canary')
  writeFileSync(path, second!)
  await until('the content', () => contents.length === 2)
})

t.test("a file of a ConfigMap is followed through kubelet's ..data link", async (t) => {
  const path = directoryFor(t)
  const swapIn = (generation: string, pem: string) => {
    mkdirSync(join(path, `..${generation}`))
    writeFileSync(join(path, `..${generation}`, 'ca.pem'), pem)
    symlinkSync(`..${generation}`, join(path, '..data_tmp'))
    renameSync(join(path, '..data_tmp'), join(path, '..data'))
  }
  swapIn('g0', first!)
  symlinkSync('..data/ca.pem', join(path, 'ca.pem'))
  const { contents } = await follow(t, join(path, 'ca.pem'))
  swapIn('g1', second!)
  await until('the content', () => contents.length === 2)
  rmSync(join(path, '..g0'), { recursive: true })
  swapIn('g2', third!)
  await until('the content', () => contents.length === 3)
  t.same(contents, [first, second, third])
})

t.test('a first content that is no certificate is refused in words that do not quote it', async (t) => {
  const path = join(directoryFor(t), 'ca.pem')
  writeFileSync(path, 'canary')
  await t.rejects(follow(t, path), {
    message: `${path} holds no PEM certificate (-----BEGIN CERTIFICATE-----)`,
  })
  await t.rejects(follow(t, `${path}.none`), { code: 'ENOENT' })
})
