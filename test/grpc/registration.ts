import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Client, credentials, type ServiceError } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { loadService } from '../../src/grpc/proto.ts'
import { startRegistration } from '../../src/grpc/registration.ts'
import { FakeLog } from '../fakes/log.ts'
import { socketDirectory } from '../harness/kubelet/grpc.ts'
import { realClock } from '../harness/real-clock.ts'

async function register(t: Test) {
  const socketPath = join(socketDirectory(t), 'secrets.example.org-reg.sock')
  const log = new FakeLog()
  const refusals: string[] = []
  let registered = 0
  const registration = await startRegistration({
    socketPath,
    driverName: 'secrets.example.org',
    kubeletEndpoint: '/var/lib/kubelet/plugins/secrets.example.org/csi.sock',
    log,
    clock: realClock,
    onRegistered: () => {
      registered += 1
    },
    onRefused: (error) => refusals.push(error),
  })
  // kubelet's plugin watcher dials like this.
  const watcher = new Client(`unix:${socketPath}`, credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
  })
  t.teardown(async () => {
    watcher.close()
    await registration.close(0)
  })
  const service = loadService('registration.proto', 'pluginregistration.Registration')
  const call = (name: string, request: object) =>
    new Promise<object>((resolve, reject) => {
      const method = service[name]!
      const done = (error: ServiceError | null, answer?: object) => (error ? reject(error) : resolve(answer!))
      watcher.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        done,
      )
    })
  return { socketPath, log, refusals, timesRegistered: () => registered, registration, call }
}

t.test('kubelet gets the driver name, the socket path on the host and the version', async (t) => {
  const { call } = await register(t)
  t.strictSame(await call('GetInfo', {}), {
    type: 'CSIPlugin',
    name: 'secrets.example.org',
    endpoint: '/var/lib/kubelet/plugins/secrets.example.org/csi.sock',
    supported_versions: ['1.0.0'],
  })
})

t.test('a successful registration is logged', async (t) => {
  const { call, log, refusals, timesRegistered } = await register(t)
  await call('NotifyRegistrationStatus', { plugin_registered: true })
  t.equal(timesRegistered(), 1)
  t.match(log.lines.at(-1), { level: 'info', message: 'registered with kubelet' })
  t.strictSame(refusals, [])
})

t.test('a refused registration is reported with the reason of kubelet', async (t) => {
  const { call, log, refusals, timesRegistered } = await register(t)
  await call('NotifyRegistrationStatus', { plugin_registered: false, error: 'driver name\nalready in use' })
  await call('NotifyRegistrationStatus', { plugin_registered: false })
  t.equal(timesRegistered(), 0)
  t.strictSame(refusals, ['driver name already in use', 'kubelet gave no reason'])
  t.match(log.lines.at(-2), { level: 'error', fields: { reason: 'driver name already in use' } })
})

t.test('closing removes the socket, which unregisters the driver', async (t) => {
  const { socketPath, registration } = await register(t)
  t.ok(existsSync(socketPath))
  await registration.close(100)
  t.notOk(existsSync(socketPath))
})
