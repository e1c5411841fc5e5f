// A TLS server that uses a new certificate without a restart and without a failed handshake.
//
// usage: node tls-server.mjs DIRECTORY PORT    (DIRECTORY holds tls.crt and tls.key)
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync, realpathSync, watch } from 'node:fs'
import { join } from 'node:path'
import { createServer } from 'node:tls'

const [, , directory, port] = process.argv
let serial

const server = createServer((socket) => socket.end('hello\n'))
// One watch on the file itself, valid for the life of the volume. Watching the directory for `..data` works too.
watch(join(directory, 'tls.crt'), load)
load()
server.listen(Number(port), '127.0.0.1', () => console.log(`listening on ${server.address().port}`))

function load() {
  const { cert, key } = readPair()
  const certificate = new X509Certificate(cert)
  // One change can cause two events, and an event may come before the new set is visible.
  if (certificate.serialNumber === serial || !certificate.checkPrivateKey(createPrivateKey(key))) return
  serial = certificate.serialNumber
  // New handshakes use it; open connections continue.
  server.setSecureContext({ cert, key })
  console.log(`loaded ${serial}`)
}

/** Both files of one set: `..data` points to the current set and is resolved once. */
function readPair() {
  const set = realpathSync(join(directory, '..data'))
  return { cert: readFileSync(join(set, 'tls.crt')), key: readFileSync(join(set, 'tls.key')) }
}
