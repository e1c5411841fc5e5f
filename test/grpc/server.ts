import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { startGrpcServer } from '../../src/grpc/server.ts'
import { socketPathOf } from '../../src/grpc/socket-path.ts'
import { FakeLog } from '../fakes/log.ts'
import { drainEventLoop } from '../harness/event-loop.ts'
import { failureOf, publishArgs, servePlugin, socketDirectory } from '../harness/kubelet/grpc.ts'
import { realClock } from '../harness/real-clock.ts'

function start(path: string) {
  return startGrpcServer({ endpoint: `unix://${path}`, services: [], log: new FakeLog(), clock: realClock })
}

t.test('only root may open the socket, and it is removed with the server', async (t) => {
  const { endpoint, server, kubelet } = await servePlugin(t)
  const path = socketPathOf(endpoint)
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.ok(statSync(path).isSocket())
  await server.close(1000)
  t.notOk(existsSync(path))
  t.equal((await failureOf(kubelet.getInfo())).code, 'UNAVAILABLE')
})

t.test('a publish under way finishes while new calls are refused', async (t) => {
  const { server, kubelet, node } = await servePlugin(t)
  const started = Promise.withResolvers<void>()
  const finish = Promise.withResolvers<void>()
  node.onPublish = () => {
    started.resolve()
    return finish.promise
  }
  const publish = kubelet.nodePublish(publishArgs)
  await started.promise
  const closed = server.close(60_000)
  t.equal((await failureOf(kubelet.getInfo())).code, 'UNAVAILABLE')
  finish.resolve()
  await publish
  await closed
  t.equal(node.mounted.size, 1)
})

t.test('a call that exceeds the grace period is cancelled and its handler aborted', async (t) => {
  const { server, kubelet, node, log } = await servePlugin(t)
  const aborted = Promise.withResolvers<void>()
  const started = Promise.withResolvers<void>()
  node.onPublish = (_request, signal) => {
    signal.addEventListener('abort', () => aborted.resolve())
    started.resolve()
    return aborted.promise
  }
  const failure = failureOf(kubelet.nodePublish(publishArgs))
  await started.promise
  await server.close(50)
  t.match(await failure, { code: /UNAVAILABLE|CANCELLED/ })
  await aborted.promise
  t.match(log.text, 'open calls were cancelled')
})

t.test('a connection that a client keeps open does not delay the shutdown', async (t) => {
  const { server, kubelet } = await servePlugin(t, { kubelet: { keepConnection: true } })
  await kubelet.getInfo()
  const startedAt = Date.now()
  await server.close(10_000)
  t.ok(Date.now() - startedAt < 5000)
})

t.test('closing twice is the same as once', async (t) => {
  const { server, log } = await servePlugin(t)
  await Promise.all([server.close(1000), server.close(1000)])
  t.equal(log.lines.filter((line) => line.message === 'gRPC server closed').length, 1)
})

t.test('a socket left by a killed process is replaced', async (t) => {
  const path = join(socketDirectory(t), 'csi.sock')
  const program = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.ok(existsSync(path))
  const server = await start(path)
  await server.close(0)
})

t.test('a socket that another process serves is not removed', async (t) => {
  const path = join(socketDirectory(t), 'csi.sock')
  const other = createServer((socket) => socket.end()).listen(path)
  await once(other, 'listening')
  await t.rejects(start(path), {
    message: `another process serves socket "${path}": stop it or choose another path`,
  })
  t.ok(existsSync(path))
  other.close()
})

t.test('a file that is not a socket is not removed', async (t) => {
  const directory = socketDirectory(t)
  writeFileSync(join(directory, 'file'), 'mine')
  mkdirSync(join(directory, 'directory'))
  symlinkSync('/nowhere', join(directory, 'link'))
  for (const name of ['file', 'directory', 'link']) {
    await t.rejects(start(join(directory, name)), { message: /is there and is no socket/ })
  }
})

t.test('a missing directory is named', async (t) => {
  const path = join(socketDirectory(t), 'missing', 'csi.sock')
  await t.rejects(start(path), {
    message: `the directory of socket "${path}" does not exist: create it or mount it there`,
  })
})

t.test('an endpoint is an absolute unix path that the system can hold', async (t) => {
  t.equal(socketPathOf('unix:///csi/csi.sock'), '/csi/csi.sock')
  t.equal(socketPathOf('unix:/csi/csi.sock'), '/csi/csi.sock')
  t.equal(socketPathOf('/csi/csi.sock'), '/csi/csi.sock')
  for (const endpoint of ['tcp://127.0.0.1:9000', 'unix://csi/csi.sock', 'unix:csi.sock', '', 'csi.sock']) {
    t.throws(() => socketPathOf(endpoint), { message: /write unix:\/\/\/path\/csi\.sock/ }, endpoint)
  }
  t.equal(socketPathOf(`unix:///${'a'.repeat(106)}`).length, 107)
  t.throws(() => socketPathOf(`unix:///${'a'.repeat(107)}`), { message: /108 bytes, the system allows 107/ })
})

t.test('a client that connects and sends nothing does not affect the others', async (t) => {
  const { endpoint, kubelet, server } = await servePlugin(t)
  const { connect } = await import('node:net')
  const idle = connect(socketPathOf(endpoint))
  await once(idle, 'connect')
  const noise = connect(socketPathOf(endpoint))
  noise.on('error', () => {})
  noise.write('GET / HTTP/1.1\r\n\r\n')
  await drainEventLoop()
  t.match(await kubelet.getInfo(), { node_id: 'node-7' })
  await server.close(100)
  idle.destroy()
  noise.destroy()
})
