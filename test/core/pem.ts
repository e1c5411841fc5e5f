import t from 'tap'
import { certificatesFault } from '../../src/core/pem.ts'
import { createCertificateAuthority } from '../support/certificates.ts'

const one = createCertificateAuthority('one')
const two = createCertificateAuthority('two').certificate

t.test('one certificate or several, with words between them, are fine', async (t) => {
  t.equal(certificatesFault(one.certificate), undefined)
  t.equal(certificatesFault(`# one\n${one.certificate}\n# two\r\n${two.replaceAll('\n', '\r\n')}`), undefined)
})

t.test('what is wrong is told without quoting', async (t) => {
  const cut = two.replace(/\n\S{30}/, '\ncanary')
  t.equal(certificatesFault(''), 'holds no PEM certificate (-----BEGIN CERTIFICATE-----)')
  t.equal(certificatesFault(`${one.certificate}${cut}`), 'certificate 2 of 2 cannot be parsed')
  t.equal(certificatesFault(one.issue(['x']).key), 'holds a private key, wants certificates only')
})
