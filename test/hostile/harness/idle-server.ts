// Answers each request with two words and does nothing else: what a prober measures here is the machine's own noise.
import { type AddressInfo, createServer } from 'node:net'

const server = createServer((socket) => {
  socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n'))
  socket.on('error', () => socket.destroy())
})
server.listen(0, '127.0.0.1', () =>
  process.send?.({
    kind: 'listening',
    port: (server.address() as AddressInfo).port,
    pid: process.pid,
  }),
)
process.on('disconnect', () => process.exit(0))
