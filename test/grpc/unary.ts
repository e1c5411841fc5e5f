import { Client, credentials } from '@grpc/grpc-js'
import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { FakeClock } from '../fakes/clock.ts'
import { failureOf, publishArgs, servePlugin } from '../harness/kubelet/grpc.ts'
import { publishRequest } from '../harness/kubelet/kubelet.ts'

/** Runs until it is aborted; then fails with `failure` or with the signal's reason. */
function untilAborted(signal: AbortSignal, failure?: FaultError): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(failure ?? signal.reason))
  })
}

t.test(
  'the text of an unforeseen error goes neither to the caller nor to the log, its place is logged',
  async (t) => {
    const { kubelet, node, log } = await servePlugin(t)
    for (const onPublish of [
      async () => {
        throw Object.assign(new TypeError('canary-secret'), { code: 'EODD' })
      },
      () => {
        throw new Error('canary-secret before any await')
      },
      () => Promise.reject('canary-secret as text'),
    ]) {
      node.onPublish = onPublish
      const failure = await failureOf(kubelet.nodePublish(publishArgs))
      t.equal(failure.code, 'INTERNAL')
      t.match(failure.details, 'an unforeseen error of the plugin')
      t.notMatch(failure.details, 'canary')
    }
    t.notMatch(log.text, 'canary')
    const failed = log.lines.filter((line) => line.message === 'call failed')
    t.equal(failed.length, 3)
    t.match(failed[0], {
      level: 'error',
      fields: {
        error: { fault: 'internal', cause: { name: 'TypeError', code: 'EODD', stack: /unary\.ts/ } },
      },
    })
  },
)

t.test('a failed call is logged once, by names and without its request', async (t) => {
  const { kubelet, node, log } = await servePlugin(t)
  node.onPublish = async () => {
    throw new FaultError('sealed', { address: 'https://vault.example.org' })
  }
  const tokens = { vault: { token: 'canary-token', expirationTimestamp: '2030-01-01T00:00:00Z' } }
  await failureOf(kubelet.nodePublish({ ...publishArgs, tokens }))
  const failed = log.lines.filter((line) => line.message === 'call failed')
  t.equal(failed.length, 1)
  t.match(failed[0], {
    level: 'warn',
    fields: {
      method: '/csi.v1.Node/NodePublishVolume',
      code: 'UNAVAILABLE',
      error: { fault: 'sealed' },
      volumeId: publishArgs.volumeId,
      pod: publishArgs.pod,
      durationMs: Number,
    },
  })
  t.notMatch(log.text, 'canary')
})

t.test('a successful call is not logged', async (t) => {
  const { kubelet, log } = await servePlugin(t)
  await kubelet.nodePublish(publishArgs)
  t.notMatch(log.text, 'NodePublishVolume')
})

t.test('any text can be sent as details', async (t) => {
  const { kubelet, node } = await servePlugin(t)
  for (const reason of ['two\nlines\r\n', 'путь «é» 🔑', '100% %41 %', '\u0000\u007f', 'half \ud83d pair']) {
    node.onPublish = async () => {
      throw new FaultError('invalid_request', { reason })
    }
    const failure = await failureOf(kubelet.nodePublish(publishArgs))
    t.equal(failure.code, 'INVALID_ARGUMENT')
    t.equal(failure.details, reason.toWellFormed())
  }
})

t.test('details too long for a trailer are cut', async (t) => {
  const { kubelet, node } = await servePlugin(t)
  for (const letter of ['a', 'я', '€', '🔑']) {
    node.onPublish = async () => {
      throw new FaultError('invalid_request', { reason: letter.repeat(100_000) })
    }
    const failure = await failureOf(kubelet.nodePublish(publishArgs))
    t.equal(failure.code, 'INVALID_ARGUMENT')
    t.ok(failure.details.length <= 4000 && failure.details.startsWith(letter.repeat(1000)))
    t.ok(failure.details.endsWith('…'))
  }
})

t.test('a handler that exceeds the deadline is aborted in time to report what it was doing', async (t) => {
  const { kubelet, node } = await servePlugin(t)
  node.onPublish = (_request, signal) => untilAborted(signal)
  const failure = await failureOf(kubelet.nodePublish({ ...publishArgs, timeoutMs: 500 }))
  t.equal(failure.code, 'DEADLINE_EXCEEDED')
  t.match(failure.details, "gave up before kubelet's deadline while publishing the volume")
})

t.test('the places that an aborted handler knows are reported, its own message is not', async (t) => {
  const { kubelet, node, log } = await servePlugin(t)
  node.onPublish = (_request, signal) =>
    untilAborted(
      signal,
      new FaultError('unreachable', {
        address: 'https://vault.example.org',
        serverMessage: 'This operation was aborted',
      }),
    )
  const failure = await failureOf(kubelet.nodePublish({ ...publishArgs, timeoutMs: 500 }))
  t.equal(failure.code, 'DEADLINE_EXCEEDED')
  t.match(failure.details, 'tried: address https://vault.example.org')
  t.notMatch(failure.details, 'aborted')
  t.match(log.lines.at(-1), { fields: { error: { fault: 'deadline' } } })
})

t.test('a handler that ignores the abort does not keep its caller waiting', async (t) => {
  const { kubelet, node } = await servePlugin(t)
  const { promise, resolve } = Promise.withResolvers<void>()
  node.onPublish = () => promise
  const failure = await failureOf(kubelet.nodePublish({ ...publishArgs, timeoutMs: 500 }))
  t.equal(failure.code, 'DEADLINE_EXCEEDED')
  t.match(failure.details, 'while publishing the volume')
  resolve()
})

t.test('a caller with a long deadline gets its response before kubelet gives up', async (t) => {
  const clock = new FakeClock(Date.now())
  const { kubelet, node } = await servePlugin(t, { clock })
  const started = Promise.withResolvers<AbortSignal>()
  node.onPublish = (_request, signal) => {
    started.resolve(signal)
    return untilAborted(signal)
  }
  const failure = failureOf(kubelet.nodePublish({ ...publishArgs, timeoutMs: 10 * 60_000 }))
  const signal = await started.promise
  await clock.advance(109_000)
  t.notOk(signal.aborted)
  await clock.advance(1000)
  t.equal((await failure).code, 'DEADLINE_EXCEEDED')
})

t.test('a caller that cancels aborts the handler', async (t) => {
  const { kubelet, node, log } = await servePlugin(t)
  const hangUp = new AbortController()
  const aborted = Promise.withResolvers<unknown>()
  node.onPublish = async (_request, signal) => {
    setImmediate(() => hangUp.abort())
    await untilAborted(signal).catch(aborted.resolve)
  }
  const call = kubelet.raw('NodePublishVolume', publishRequest(publishArgs), { signal: hangUp.signal })
  t.equal((await failureOf(call)).code, 'CANCELLED')
  t.match(await aborted.promise, { fault: 'deadline', message: /the caller hung up/ })
  t.notMatch(log.text, 'unforeseen')
})

t.test('a quick call leaves no timer behind and its signal is never aborted', async (t) => {
  const clock = new FakeClock(Date.now())
  const { kubelet, node } = await servePlugin(t, { clock })
  let seen: AbortSignal | undefined
  node.onPublish = async (_request, signal) => {
    seen = signal
  }
  await kubelet.nodePublish(publishArgs)
  await kubelet.getInfo()
  t.equal(clock.waiting, 0)
  await clock.advance(10 * 60_000)
  t.equal(seen?.aborted, false)
})

t.test('an unknown method and staging are unimplemented, a request over 4 MiB is refused', async (t) => {
  const { endpoint, kubelet } = await servePlugin(t)
  const client = new Client(endpoint, credentials.createInsecure(), { 'grpc.default_authority': 'localhost' })
  t.teardown(() => client.close())
  for (const method of ['NodeStageVolume', 'NodeUnstageVolume', 'NodeExpandVolume', 'Nonsense']) {
    const bytes = (buffer: Buffer) => buffer
    const error = await new Promise<{ code?: number } | null>((resolve) => {
      client.makeUnaryRequest(`/csi.v1.Node/${method}`, bytes, bytes, Buffer.alloc(0), resolve)
    })
    t.equal(error?.code, 12, method)
  }
  const attributes = { big: 'x'.repeat(4 * 1024 * 1024) }
  const failure = await failureOf(kubelet.nodePublish({ ...publishArgs, attributes }))
  t.equal(failure.code, 'RESOURCE_EXHAUSTED')
})
