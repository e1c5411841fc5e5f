import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { findOrFetchOpenBao } from '../harness/vault/openbao.ts'

const before = { PATH: process.env.PATH, XDG_CACHE_HOME: process.env.XDG_CACHE_HOME }
t.afterEach(() => {
  Object.assign(process.env, before)
  if (before.XDG_CACHE_HOME === undefined) delete process.env.XDG_CACHE_HOME
})

function executable(path: string) {
  writeFileSync(path, '#!/bin/sh\n')
  chmodSync(path, 0o755)
}

t.test('a server on PATH is taken, bao before vault', async (t) => {
  const folder = t.testdir()
  process.env.PATH = folder
  process.env.XDG_CACHE_HOME = folder
  executable(join(folder, 'vault'))
  t.equal(await findOrFetchOpenBao(), join(folder, 'vault'))
  executable(join(folder, 'bao'))
  t.equal(await findOrFetchOpenBao(), join(folder, 'bao'))
})

t.test('one that was fetched before is taken from the cache', async (t) => {
  const folder = t.testdir()
  process.env.PATH = join(folder, 'nothing')
  process.env.XDG_CACHE_HOME = folder
  const cache = join(folder, 'vault-files-csi', 'openbao-2.7.2')
  mkdirSync(cache, { recursive: true })
  executable(join(cache, 'bao'))
  t.equal(await findOrFetchOpenBao(), join(cache, 'bao'))
})

t.test('with neither a server nor Python the error says what to install', async (t) => {
  const folder = t.testdir()
  process.env.PATH = folder
  process.env.XDG_CACHE_HOME = folder
  await t.rejects(findOrFetchOpenBao(), {
    message: /neither bao nor vault.*install OpenBao.*apt-get install/,
  })
})
