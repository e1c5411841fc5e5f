import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { readPrivateKey } from '../../src/kube/private-key.ts'

const options = { type: 'pkcs8', format: 'pem' } as const

t.test('keys that servers have are read, however they are written', async (t) => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const ed = generateKeyPairSync('ed25519').privateKey
  const written: [string, string][] = [
    ['rsa', rsa.export(options).toString()],
    ['rsa', rsa.export({ type: 'pkcs1', format: 'pem' }).toString()],
    ['ec', ec.export(options).toString()],
    ['ec', ec.export({ type: 'sec1', format: 'pem' }).toString()],
    ['ed25519', ed.export(options).toString()],
  ]
  for (const [type, pem] of written) {
    const notes = `a note\n-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n${pem}\nmore`
    for (const text of [pem, notes, pem.replaceAll('\n', '\r\n')]) {
      const key = readPrivateKey(Buffer.from(text))
      t.equal(key?.asymmetricKeyType, type)
      t.ok(key?.equals(createPrivateKey(pem)))
    }
  }
})

t.test('text without a usable private key gives none', async (t) => {
  const pem = generateKeyPairSync('ed25519').privateKey.export(options).toString()
  const locked = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const secret = locked.export({ ...options, cipher: 'aes-256-cbc', passphrase: 'x' }).toString()
  for (const text of [
    '',
    'x',
    pem.slice(0, 60),
    pem.replace('MC4', 'AAA'),
    secret,
    ' '.repeat(40_000) + pem,
  ]) {
    t.equal(readPrivateKey(Buffer.from(text)), undefined)
  }
  for (let count = 0; count < 48; count++) {
    const der = Buffer.from([0x30, 0x84, count, 0x30, 0x83, 0xff, 0xff, 0xff]).subarray(0, count % 9)
    const text = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----`
    t.equal(readPrivateKey(Buffer.from(text)), undefined)
  }
})

/** A DSA key of numbers that are no primes: nobody looks at that before the power is taken. */
function largeDsaKey(bytes: number): string {
  const large = Buffer.alloc(bytes, 0xab)
  large[bytes - 1] = 0xfd
  const parameters = sequence(integer(large), integer(large), integer(Buffer.from([5])))
  const algorithm = sequence(tlv(0x06, Buffer.from('2a8648ce380401', 'hex')), parameters)
  const der = sequence(integer(Buffer.from([0])), algorithm, tlv(0x04, integer(large)))
  return `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`
}

function tlv(tag: number, content: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(content.byteLength)
  const head = content.byteLength < 128 ? [tag, content.byteLength] : [tag, 0x82, ...length]
  return Buffer.concat([Buffer.from(head), content])
}

const integer = (value: Buffer) =>
  tlv(0x02, (value[0] ?? 0) < 0x80 ? value : Buffer.concat([Buffer.alloc(1), value]))
const sequence = (...parts: Buffer[]) => tlv(0x30, Buffer.concat(parts))

t.test('a key whose reading would take seconds is not read', async (t) => {
  t.equal(createPrivateKey(largeDsaKey(64)).asymmetricKeyType, 'dsa', 'OpenSSL reads such keys')
  const before = process.threadCpuUsage()
  t.equal(readPrivateKey(Buffer.from(largeDsaKey(2048))), undefined)
  const { user, system } = process.threadCpuUsage(before)
  t.ok((user + system) / 1000 < 50, `${(user + system) / 1000} ms of CPU`)
})
