import t from 'tap'
import { doctorHelp, parseDoctorArguments } from '../../../src/commands/doctor/arguments.ts'
import { diagnose } from '../../harness/commands/doctor-bench.ts'

t.test("the doctor's own flags are separated from the plugin's", async (t) => {
  const argv =
    '--import shop/app --vault-addr=http://v --service-account=app --dry-login --imports kube --json'
  t.strictSame(parseDoctorArguments(argv.split(' ')), {
    arguments: {
      importRef: { namespace: 'shop', name: 'app' },
      serviceAccount: 'app',
      dryLogin: true,
      tokenFile: undefined,
      json: true,
      settings: ['--vault-addr=http://v', '--imports', 'kube'],
    },
  })
})

const wrong: [argv: string, fault: RegExp][] = [
  ['--import app', /--import: must be NAMESPACE\/NAME, is "app"/],
  ['--import a/b/c', /must be NAMESPACE\/NAME/],
  ['--import', /--import: needs a value/],
  ['--import --json', /--import: needs a value/],
  ['--service-account=', /--service-account: needs a value/],
  ['--service-account app', /--service-account: needs --import/],
  ['--dry-login', /--dry-login: needs --import/],
  ['--token-file f --import a/b', /--token-file: only with --dry-login/],
  ['--frobnicate', /unknown flag "--frobnicate"/],
  ['--vault-adr http://v', /did you mean --vault-addr\?/],
  ['--imports nowhere', /--imports: must be/],
  ['extra', /unexpected argument "extra"/],
]
for (const [argv, fault] of wrong) {
  t.test(`${argv}: exit code 2`, async (t) => {
    const { code, text, findings } = await diagnose(argv.split(' '))
    t.equal(code, 2)
    t.match(text, fault)
    t.match(text, /see doctor --help/)
    t.strictSame(findings, [])
  })
}

t.test('all faults are reported at once', async (t) => {
  const { text } = await diagnose(['--dry-login', '--import=x', '--frobnicate', '--vault-addr=ftp://v'])
  for (const fault of ['--import:', '--frobnicate', '--vault-addr: must be'])
    t.ok(text.includes(fault), fault)
})

t.test('--help wins over faults and fits a terminal', async (t) => {
  const { code, text } = await diagnose(['--dry-login', '--nonsense', '-h'])
  t.equal(code, 0)
  t.equal(text, doctorHelp)
  t.ok(doctorHelp.split('\n').every((line) => line.length <= 120))
})
