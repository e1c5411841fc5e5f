import { spawn } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import t from 'tap'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'
import { setUpPki } from '../harness/vault/vault-engines.ts'

const program = resolve(import.meta.dirname, '../../docs/examples/tls-server.mjs')

function webImport(ttl: string, more: object = {}): object {
  const data = { common_name: 'web.example.org', alt_names: 'localhost.example.org', ttl }
  return {
    role: 'web',
    sources: [{ name: 'web', path: 'pki/issue/web', method: 'PUT', data, ...more }],
    files: [
      { name: 'tls.crt', source: { ref: 'web', key: 'certificate' } },
      { name: 'tls.key', source: { ref: 'web', key: 'private_key' }, mode: 0o400 },
      { name: 'ca.crt', source: { ref: 'web', key: 'issuing_ca' } },
      {
        name: 'fullchain.pem',
        source: { ref: 'web' },
        template: '{{ certificate }}\n{{ ca_chain | join: "\n" }}\n',
      },
    ],
  }
}

t.test('certificates from a real PKI engine', async (t) => {
  const node = await startRealNode(t)
  const { admin } = node.vault
  await setUpPki(admin)
  await admin.write('sys/policies/acl/web', { policy: 'path "pki/issue/web" { capabilities = ["update"] }' })
  await node.vault.writeRole('web', { token_policies: 'web' })
  const issues = () => node.front.requests.filter(({ path }) => path === 'pki/issue/web').length

  await t.test('certificate, key and chain are of one issue', async (t) => {
    await node.writeImport('hour', webImport('1h'))
    const volume = await node.publish({ importName: 'hour' })
    const certificate = new X509Certificate(volume.read('tls.crt'))
    t.ok(certificate.checkPrivateKey(createPrivateKey(volume.read('tls.key'))))
    t.ok(certificate.verify(new X509Certificate(volume.read('ca.crt')).publicKey))
    t.match(certificate.subjectAltName, /web\.example\.org/)
    const chain = volume.read('fullchain.pem').match(/-----BEGIN CERTIFICATE-----/g)
    t.ok((chain?.length ?? 0) >= 2, `${chain?.length} certificates`)
    t.equal(issues(), 1)

    await t.test('it is not issued again by the clock', async (t) => {
      const before = node.front.requests.length
      await sleep(4_000)
      t.equal(issues(), 1)
      t.equal(node.front.requests.length, before, 'four intervals without one call')
      t.equal(new X509Certificate(volume.read('tls.crt')).serialNumber, certificate.serialNumber)
    })
    t.same(await node.vault.loginTokens(), [], 'no token outlives an issue that has no lease')
    await node.unpublish(volume)
  })

  await t.test('a name that the role does not allow is refused in words of Vault', async (t) => {
    const data = { common_name: 'web.example.com' }
    await node.writeImport('refused', webImport('1h', { data }))
    const { code, details } = await node.refusal({ importName: 'refused' })
    t.equal(code, 'FAILED_PRECONDITION')
    t.match(details, /pki\/issue\/web.*not allowed by this role.*next: correct method and data/)
  })

  await t.test('a server that reloads serves across renewals without a failed handshake', async (t) => {
    await node.writeImport('short', webImport('6s'))
    const volume = await node.publish({ importName: 'short' })
    const server = spawn(process.execPath, [program, volume.target, '0'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let printed = ''
    server.stdout.on('data', (chunk) => {
      printed += chunk
    })
    t.teardown(() => server.kill())
    const port = Number((await until('the server', () => /listening on (\d+)/.exec(printed)))[1])
    const ca = volume.read('ca.crt')
    const served = new Set<string>()
    const failed: string[] = []
    let handshakes = 0
    while (served.size < 4 && handshakes < 20_000) {
      try {
        served.add(await shakeHands(port, ca))
        handshakes += 1
      } catch (error) {
        failed.push(String(error))
      }
    }
    t.same(failed, [])
    t.equal(served.size, 4)
    t.ok(handshakes > 100, `${handshakes} handshakes with ${served.size} certificates`)
    const ended = once(server, 'exit')
    server.kill()
    await ended
    await node.unpublish(volume)
  })
})

/** @returns the serial number of the certificate that was served; verified, name and dates included */
async function shakeHands(port: number, ca: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, ca, servername: 'web.example.org' })
  try {
    await once(socket, 'secureConnect')
    return socket.getPeerCertificate().serialNumber
  } finally {
    socket.destroy()
  }
}
