import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import t from 'tap'
import { until } from '../harness/until.ts'

const SLOW = { timeout: 90_000 }

type Demo = { child: ChildProcess; folder: string; output(): string; ended: Promise<[number | null]> }

/** Starts the demo in a pipe, with a folder of its own for all that is temporary. */
function startDemo(): Demo {
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-demo-test-'))
  const child = spawn(process.execPath, [resolve(import.meta.dirname, '../../demo/demo.ts')], {
    env: { ...process.env, TMPDIR: folder, FORCE_COLOR: undefined },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that a Ctrl-C can be sent to it as a terminal sends it: to all of it.
    detached: true,
  })
  let text = ''
  const keep = (chunk: Buffer) => {
    text += chunk.toString('utf8')
  }
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)
  return { child, folder, output: () => text, ended: once(child, 'close') as Promise<[number | null]> }
}

/** Whatever of a demo outlived it: files, mounts, processes. */
function remains({ folder }: Demo): string[] {
  const files = readdirSync(folder)
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(folder))
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(commandLine)
    .filter((line) => line.includes(folder))
  return [...files, ...mounts, ...processes]
}

function commandLine(pid: string): string {
  try {
    return readFileSync(join('/proc', pid, 'cmdline'), 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

t.test('the demo shows the main job and leaves nothing', SLOW, async (t) => {
  const demo = startDemo()
  t.teardown(() => rmSync(demo.folder, { recursive: true, force: true }))
  const [code] = await demo.ended
  const output = demo.output()
  t.equal(code, 0, output)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what must not be there
  t.notMatch(output, /\u001b/, 'plain in a pipe')
  for (const line of [
    /kind: SecretsStoreImport/,
    /vault-files-csi is ready after \d+ ms/,
    /published in \d+ ms/,
    /db-password -> \.\.data\/db-password/,
    /correct horse/,
    /postgres:\/\/app:correct%20horse@db\/app/,
    /IN_MODIFY \d+ ms after the change in Vault; cat db-password: battery staple/,
    /IN_MODIFY \d+ ms after the change in Vault; cat db-password: tr0ub4dor&3/,
    /cannot be reached \(connection refused\)/,
    /the file stays as it was: tr0ub4dor&3/,
    /recovered \d+ ms later; cat db-password: purple monkey dishwasher/,
    /unpublished: nothing mounted/,
  ]) {
    t.match(output, line)
  }
  t.notMatch(output, /✗/)
  t.strictSame(remains(demo), [])
})

for (const moment of [/listens at/, /published in/, /Vault is stopped/]) {
  t.test(`interrupted at "${moment.source}" it cleans up`, SLOW, async (t) => {
    const demo = startDemo()
    t.teardown(() => rmSync(demo.folder, { recursive: true, force: true }))
    await until('the moment', () => moment.test(demo.output()), { timeoutMs: 60_000 })
    process.kill(-demo.child.pid!, 'SIGINT')
    const [code] = await demo.ended
    t.equal(code, 130, demo.output())
    t.match(demo.output(), /interrupted, cleaning up/)
    t.notMatch(demo.output(), /cleaning up: /)
    t.equal(demo.output().split('✗').length, 2, 'one failure is reported, the interruption')
    await until('all processes to be gone', () => remains(demo).length === 0).catch(() => undefined)
    t.strictSame(remains(demo), [])
  })
}
