// Thread of an attacker: holds connections to a port, and reopens each that is closed. A thread of its own, so that its
// cost is not counted against the server.
import { connect } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'

/** Another pod: its address is not kubelet's. */
const ATTACKER = '127.0.0.2'
const AGAIN_MS = 500

const { port, words, count, isReading } = workerData as {
  port: number
  words: string
  count: number
  isReading: boolean
}
let opened = 0

function open(): void {
  const socket = connect({ port, host: '127.0.0.1', localAddress: ATTACKER })
  socket.on('error', () => {})
  socket.once('connect', () => {
    opened += 1
    if (opened === count) parentPort?.postMessage('held')
    socket.write(words)
    // What the server has to say to these stays with it.
    if (isReading) socket.resume()
  })
  socket.once('close', () => setTimeout(open, AGAIN_MS))
}

for (let made = 0; made < count; made++) open()
parentPort?.on('message', () => parentPort?.postMessage(opened))
