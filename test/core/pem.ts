import t from 'tap'
import { certificatesFault } from '../../src/core/pem.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'

const one = createCertificateAuthority('one')
const two = createCertificateAuthority('two').certificate

t.test('one or more certificates with comments between them are valid', async (t) => {
  t.equal(certificatesFault(one.certificate), undefined)
  t.equal(certificatesFault(`# one\n${one.certificate}\n# two\r\n${two.replaceAll('\n', '\r\n')}`), undefined)
})

t.test('a fault never quotes the text', async (t) => {
  const cut = two.replace(/\n\S{30}/, '\ncanary')
  t.equal(certificatesFault(''), 'holds no PEM certificate (-----BEGIN CERTIFICATE-----)')
  t.equal(certificatesFault(`${one.certificate}${cut}`), 'certificate 2 of 2 cannot be parsed')
  t.equal(certificatesFault(one.issue(['x']).key), 'holds a private key, wants certificates only')
})

t.test('parsing is linear for any text', async (t) => {
  const cost = (text: string) => {
    const before = process.threadCpuUsage()
    const fault = certificatesFault(text)
    const { user, system } = process.threadCpuUsage(before)
    t.ok((user + system) / 1000 < 100, `${(user + system) / 1000} ms of CPU`)
    return fault
  }
  const none = 'holds no PEM certificate (-----BEGIN CERTIFICATE-----)'
  t.equal(cost('-----BEGIN A-----'.repeat(60_000)), none)
  const labels = Array.from({ length: 40_000 }, (_, at) => `-----BEGIN ${at}-----\n`).join('')
  t.equal(cost(labels), none)
  t.equal(cost(`${labels.slice(0, 500_000)}${labels.slice(0, 400_000).replaceAll('BEGIN', 'END')}`), none)
  t.equal(cost('-----BEGIN CERTIFICATE-----'.repeat(38_000)), none)
  const empty = '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n'
  t.equal(cost(empty.repeat(18_000)), 'must have at most 512 certificates')
  t.equal(cost(two.repeat(512)), undefined)
  t.equal(cost('x'.repeat(2_000_000)), 'must have at most 1048576 characters')
})

t.test('a block without its own END does not hide the blocks that follow', async (t) => {
  t.equal(certificatesFault(`-----BEGIN A-----\n${two}`), undefined)
  t.equal(certificatesFault(`-----BEGIN A-----\n-----END B-----\n${two}`), undefined)
  t.equal(certificatesFault(`-----END CERTIFICATE-----\n${two}`), undefined)
})
