import t from 'tap'
import {
  createReport,
  fail,
  hasNoFailures,
  ok,
  showJson,
  showTable,
  skipped,
  valueIn,
  warn,
} from '../../../src/commands/doctor/report.ts'
import { FaultError } from '../../../src/core/faults/fault.ts'

const never = new AbortController().signal

t.test("a fault becomes a failure with the fault's own next step", async (t) => {
  const report = createReport(never)
  const verdict = await report.run('Vault', () => {
    throw new FaultError('sealed', { address: 'https://vault' })
  })
  t.equal(valueIn(verdict), undefined)
  t.match(report.findings, [
    {
      name: 'Vault',
      outcome: 'fail',
      detail: 'Vault at https://vault is sealed; tried: address https://vault',
      fix: /^unseal it/,
    },
  ])
})

t.test('any other error is a failure with its message, in which tokens are masked', async (t) => {
  const report = createReport(never)
  await report.run('API server', () => Promise.reject(new Error('got hvs.CAESIJabcdefghijklmnopqrst')))
  t.match(report.findings, [{ outcome: 'fail', detail: 'got [token]' }])
})

t.test('an aborted report ends with the reason of the signal', async (t) => {
  const stopped = new AbortController()
  const report = createReport(stopped.signal)
  stopped.abort(new Error('stopped'))
  await t.rejects(
    report.run('Vault', () => Promise.reject(new Error('cut off'))),
    { message: 'stopped' },
  )
})

t.test('the table has the fix under each line that needs one, and the counts', async (t) => {
  const report = createReport(never)
  t.equal(valueIn(await report.run('one', () => ok('fine', 7))), 7)
  await report.run('number two', () => warn('so so', 'mend it'))
  await report.run('three', () => skipped('no reason'))
  t.equal(hasNoFailures(report.findings), true)
  await report.run('four', () => fail('broken', 'replace it'))
  t.equal(hasNoFailures(report.findings), false)
  t.equal(
    showTable(report.findings),
    [
      'ok       one         fine',
      'warn     number two  so so',
      '                     fix: mend it',
      'skipped  three       no reason',
      'fail     four        broken',
      '                     fix: replace it',
      '',
      '4 checks: 1 ok, 1 warn, 1 fail, 1 skipped',
      '',
    ].join('\n'),
  )
  t.match(JSON.parse(showJson('1.2.3', report.findings)), {
    version: '1.2.3',
    ok: false,
    checks: [{ name: 'one' }, {}, {}, { name: 'four', outcome: 'fail', detail: 'broken', fix: 'replace it' }],
  })
})
