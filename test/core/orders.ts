import t from 'tap'
import { callOrder, readCall } from '../../src/core/call.ts'
import type { DataFromSpec } from '../../src/core/import.ts'
import { ownFiles } from '../../src/core/orders.ts'
import { importSpec } from '../fakes/imports.ts'

const leased = readCall('database/creds/app')
const from = (more: Partial<DataFromSpec>): DataFromSpec => ({
  call: leased,
  prefix: '',
  include: undefined,
  exclude: undefined,
  format: 'Files',
  fileName: undefined,
  ...more,
})
const names = ['db-password', 'db-username', 'app.env', 'other']

t.test('a file for each key of what is issued is the own of its volume', async (t) => {
  const spec = importSpec({ files: [], dataFrom: [from({ prefix: 'db-' })] })
  t.strictSame([...ownFiles(spec, [callOrder(leased)], names)], ['db-password', 'db-username'])
  // db-password is a file of the import itself here.
  const beside = importSpec({ dataFrom: [from({ prefix: 'db-' })] })
  t.strictSame([...ownFiles(beside, [callOrder(leased)], names)], ['db-username'])
})

t.test('so is the one file of them all, and nothing beside it', async (t) => {
  const spec = importSpec({ dataFrom: [from({ format: 'Shell', fileName: 'app.env' })] })
  t.strictSame([...ownFiles(spec, [callOrder(leased)], names)], ['app.env'])
})

t.test('what is read and shared is the own of none', async (t) => {
  const spec = importSpec({ dataFrom: [from({}), from({ call: readCall('secret/data/app') })] })
  t.strictSame([...ownFiles(spec, [], names)], [])
})
