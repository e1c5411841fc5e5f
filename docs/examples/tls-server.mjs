// A TLS server that takes a new certificate without a restart and without a failed handshake.
//
// usage: node tls-server.mjs DIRECTORY PORT    (DIRECTORY holds tls.crt and tls.key)
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync, realpathSync, watch } from 'node:fs'
import { join } from 'node:path'
import { createServer } from 'node:tls'

const [, , directory, port] = process.argv
let serial

const server = createServer((socket) => socket.end('hello\n'))
// One watch on the file itself, good for the volume's life. Watching the directory for `..data` does as well.
watch(join(directory, 'tls.crt'), load)
load()
server.listen(Number(port), '127.0.0.1', () => console.log(`listening on ${server.address().port}`))

function load() {
  const { cert, key } = readPair()
  const certificate = new X509Certificate(cert)
  // One change can be told twice, and an event may come before the new set is visible.
  if (certificate.serialNumber === serial || !certificate.checkPrivateKey(createPrivateKey(key))) return
  serial = certificate.serialNumber
  // Handshakes from now on use it; connections that are open go on.
  server.setSecureContext({ cert, key })
  console.log(`loaded ${serial}`)
}

/** Both files out of one set: `..data` says which one counts, and it is asked once. */
function readPair() {
  const set = realpathSync(join(directory, '..data'))
  return { cert: readFileSync(join(set, 'tls.crt')), key: readFileSync(join(set, 'tls.key')) }
}
