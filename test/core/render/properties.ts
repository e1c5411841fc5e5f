import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { propertiesLine } from '../../../src/core/render/properties.ts'
import { seeded, trickyText } from '../../harness/random.ts'

/** Loads a file in both ways that Java has and prints the result as UTF-16 in hex, which survives any charset. */
const program = `
import java.io.*; import java.nio.charset.StandardCharsets; import java.util.*;
class Read {
  static String hex(String text) {
    StringBuilder out = new StringBuilder();
    for (char unit : text.toCharArray()) out.append(String.format("%04x", (int) unit));
    return out.toString();
  }
  public static void main(String[] args) throws IOException {
    Properties bytes = new Properties(), text = new Properties();
    try (InputStream in = new FileInputStream(args[0])) { bytes.load(in); }
    try (Reader in = new InputStreamReader(new FileInputStream(args[0]), StandardCharsets.UTF_8)) { text.load(in); }
    if (!bytes.equals(text)) throw new IllegalStateException("read differently");
    bytes.forEach((key, value) -> System.out.println(hex((String) key) + "=" + hex((String) value)));
  }
}`

const hasJava = spawnSync('java', ['-version'], { stdio: 'ignore' }).status === 0

function lineOf(key: string, value: string): string {
  const line = propertiesLine(key, value)
  if ('fault' in line) throw new Error(line.fault)
  return line.line
}

t.test('special characters are escaped', async (t) => {
  t.equal(lineOf('a', ' b c '), 'a=\\ b c ')
  t.equal(lineOf('a b', 'c'), 'a\\ b=c')
  t.equal(lineOf('k:=#!', 'v:=#!'), 'k\\:\\=\\#\\!=v\\:\\=\\#\\!')
  t.equal(lineOf('a', '\\ \t\n\r\f'), 'a=\\\\ \\t\\n\\r\\f')
  t.equal(lineOf('ключ', 'é😀\0'), '\\u043a\\u043b\\u044e\\u0447=\\u00e9\\ud83d\\ude00\\u0000')
})

t.test('Java reads the values back', { skip: hasJava ? false : 'no java on PATH' }, async (t) => {
  const random = seeded(3)
  const values = new Map([
    ['', 'of the empty key'],
    ['empty', ''],
    ['null character', 'a\0b'],
    ['#comment', '!comment'],
    ['lines', '\n a\n\\\n b\\'],
    ...Array.from({ length: 400 }, (_, at) => [`${trickyText(random)}${at}`, trickyText(random)] as const),
  ])
  const folder = mkdtempSync(join(tmpdir(), 'properties-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'Read.java'), program)
  const lines = [...values].map(([key, value]) => `${lineOf(key, value)}\n`)
  writeFileSync(join(folder, 'app.properties'), lines.join(''))
  const { stdout, stderr } = spawnSync('java', ['Read.java', 'app.properties'], {
    cwd: folder,
    encoding: 'utf8',
  })
  t.equal(stderr, '')
  const text = (hex = '') => Buffer.from(hex, 'hex').swap16().toString('utf16le')
  const read = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split('=').map(text))
  t.strictSame(new Map(read.map(([key = '', value = '']) => [key, value])), values)
})
