import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const main = join(import.meta.dirname, '../../../src/main.ts')
const golden = join(import.meta.dirname, 'golden')
const input = join(golden, 'csi-usual.input.yaml')
const output = readFileSync(join(golden, 'csi-usual.output.yaml'), 'utf8')

function run(stdin: string, ...argv: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'convert', ...argv], {
    input: stdin,
    encoding: 'utf8',
    timeout: 60_000,
  })
  return { status, stdout, stderr }
}

t.test('the program converts a file', async (t) => {
  t.match(run('', input), { status: 0, stdout: output, stderr: /wrote SecretsStoreImport\/shop-db/ })
})

t.test('the program converts standard input', async (t) => {
  t.match(run(readFileSync(input, 'utf8')), { status: 0, stdout: output })
})

t.test('the program writes a long output to a pipe completely', async (t) => {
  const text = readFileSync(input, 'utf8')
  const many = Array.from({ length: 200 }, (_, n) =>
    text.replaceAll('namespace: shop', `namespace: shop-${n}`),
  ).join('---\n')
  const { status, stdout } = run(many)
  t.equal(status, 0)
  t.equal(stdout.split('kind: Deployment').length - 1, 200)
  t.ok(stdout.length > 200_000)
})

t.test('the program prints its help', async (t) => {
  t.match(run('', '--help'), { status: 0, stdout: /^vault-files-csi convert: /, stderr: '' })
})

t.test('the program reports unreadable input and exits 1', async (t) => {
  t.match(run('', 'nowhere.yaml'), { status: 1, stdout: '', stderr: /cannot read nowhere\.yaml: ENOENT/ })
  t.match(run('a: ['), { status: 1, stdout: '', stderr: /line \d+, column \d+/ })
  t.match(run('kind: Service'), { status: 1, stdout: '', stderr: /nothing to convert/ })
})
