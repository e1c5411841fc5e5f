// The examples in docs/migration.md are real conversions. UPDATE_GOLDEN=1 rewrites them, as in golden.ts.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { parseImport } from '../../../src/core/imports/import.ts'
import { convertText } from '../../harness/commands/convert-bench.ts'

const path = join(import.meta.dirname, '../../../docs/migration.md')
const EXAMPLE = /(Before:\n\n```yaml\n)(.*?)(```\n\nAfter:\n\n```yaml\n)(.*?)(```\n)/gs

t.test('each example converts from before to after', async (t) => {
  const text = readFileSync(path, 'utf8')
  const actual = text.replaceAll(EXAMPLE, (_all, start, before, middle, _after, end) => {
    const { code, output } = convertText(before)
    t.equal(code, 0)
    return start + before + middle + output + end
  })
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(path, actual)
  const expected = readFileSync(path, 'utf8')
  t.equal(actual, expected, 'docs/migration.md (UPDATE_GOLDEN=1 rewrites it)')
  t.equal([...expected.matchAll(EXAMPLE)].length, 4, 'one for each system')
})

t.test('the import that replaces a Secret of Terraform is valid', async (t) => {
  const [, terraform = ''] = readFileSync(path, 'utf8').split('## Terraform')
  const [, yaml = ''] = /```yaml\n(.*?)```/s.exec(terraform) ?? []
  t.match(parseImport(parse(yaml)), { spec: { dataFrom: [{ format: 'Files' }] } })
})
