import { spawnSync } from 'node:child_process'
import t from 'tap'
import { FaultError, toFault } from '../../src/core/faults/fault.ts'
import { parseJson } from '../../src/core/json/json.ts'
import { SecretBytes, SecretText } from '../../src/core/secret.ts'
import { createLog } from '../../src/ops/log.ts'

/** A log into memory. */
async function memoryLog(format: 'json' | 'pretty' = 'json', level: 'debug' | 'info' = 'debug') {
  const written: string[] = []
  const log = await createLog({ level, format, destination: { write: (text) => void written.push(text) } })
  return { log, text: () => written.join(''), lines: () => written.map((line) => JSON.parse(line)) }
}

/** An error as HTTP clients throw it: the request with its token hangs on it. */
function clientError(): Error {
  const error = new Error('canary in the message', { cause: new TypeError('canary in the cause') })
  return Object.assign(error, {
    code: 'ECONNRESET',
    config: { headers: { 'X-Vault-Token': 'canary' } },
    response: { data: 'canary' },
  })
}

t.test('a line is JSON with level, time, message and fields', async (t) => {
  const { log, lines } = await memoryLog()
  log.warn(
    { volumeId: 'v1', pod: { namespace: 'shop', name: 'web' }, files: ['a'], none: undefined },
    'a message, 100 %s',
  )
  const [line] = lines()
  t.match(line, {
    level: 'warn',
    msg: 'a message, 100 %s',
    volumeId: 'v1',
    pod: { namespace: 'shop' },
    files: ['a'],
  })
  t.match(line.time, /^\d{4}-\d\d-\d\dT.*Z$/)
  t.notOk('pid' in line)
})

t.test('lines below the level are omitted', async (t) => {
  const { log, lines } = await memoryLog('json', 'info')
  log.debug({}, 'hidden')
  log.info({}, 'shown')
  t.same(
    lines().map((line) => line.msg),
    ['shown'],
  )
})

for (const format of ['json', 'pretty'] as const) {
  t.test(`no secret reaches the ${format} log, wherever it is`, async (t) => {
    const { log, text } = await memoryLog(format)
    const secret = SecretBytes.fromText('canary')
    const circle: Record<string, unknown> = { token: new SecretText('canary') }
    circle.self = circle
    let syntaxError: unknown
    try {
      parseJson('{"canary": canary}')
    } catch (error) {
      syntaxError = error
    }
    for (const fields of [
      { secret, deep: { list: [new SecretText('canary'), { secret }] } },
      {
        bytes: Buffer.from('canary'),
        array: new Uint8Array(Buffer.from('canary')),
        view: Buffer.from('canary').buffer,
      },
      { tokens: new Map([['aud', 'canary']]), set: new Set(['canary']) },
      { error: clientError() },
      { nested: { reason: clientError() } },
      { error: new FaultError('unreachable', { address: 'https://v' }, clientError()) },
      { error: toFault(clientError()) },
      { error: toFault(syntaxError) },
      { error: new AggregateError([clientError()], 'canary') },
      clientError(),
      circle,
    ]) {
      log.error(fields, 'something happened')
    }
    t.notMatch(text(), 'canary')
    t.notMatch(text(), /99,97,110|"data":\[/)
    t.match(text(), '[secret]')
    t.match(text(), '[6 bytes]')
  })
}

t.test('an error of ours is logged with fault and message, and its cause with name and place', async (t) => {
  const { log, lines } = await memoryLog()
  log.error({ error: new FaultError('unreachable', { address: 'https://v:8200' }, clientError()) }, 'failed')
  const { error } = lines()[0]
  t.equal(error.fault, 'unreachable')
  t.match(error.message, 'Vault at https://v:8200 cannot be reached')
  t.match(error.cause, { name: 'Error', code: 'ECONNRESET', cause: { name: 'TypeError' } })
  t.match(error.cause.at[0], /clientError .*log\.ts:\d+:\d+/)
  t.notOk('message' in error.cause)
})

t.test('stack lines forged by a message are not taken for the stack', async (t) => {
  const { log, text } = await memoryLog()
  const error = new Error('first')
  error.stack = 'Error: other\n    at canary (file:///canary:1:1)'
  log.error({ error }, 'failed')
  const honest = new Error('x\n    at canary (file:///canary:1:1)')
  log.error({ error: honest }, 'failed')
  t.notMatch(text(), 'canary')
})

t.test('names and codes that are not identifiers are omitted', async (t) => {
  const { log, text } = await memoryLog()
  log.error({ error: Object.assign(new Error('x'), { name: 'canary canary', code: 'canary: x' }) }, 'failed')
  t.notMatch(text(), 'canary')
})

t.test('text that looks like a token is removed from foreign text, the rest stays', async (t) => {
  const { log, lines } = await memoryLog()
  const jwt = `eyJ${'a'.repeat(30)}.${'b'.repeat(30)}.${'c'.repeat(30)}`
  const long = Array.from({ length: 200 }, (_, index) => `name-${index}`).join(' ')
  log.info({ reason: `refused hvs.${'x'.repeat(24)} and ${jwt} ${long}` }, 'words')
  t.equal(lines()[0].reason, `refused [token] and [token] ${long}`)
})

t.test('terminal control characters are removed', async (t) => {
  const { log, text } = await memoryLog('pretty')
  log.info({ reason: 'a\u001b]0;title\u0007b\u009b31m' }, 'words')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
  t.notMatch(text(), /\u0007|\u009b|\u001b\]/)
})

/** Runs a program that logs `count` lines and kills itself; its lines. */
function logAndDie(format: 'json' | 'pretty', count: number): string[] {
  const program = `
    import { createRequire } from 'node:module'
    import { createLog } from '${new URL('../../src/ops/log.ts', import.meta.url).href}'
    const log = await createLog({ level: 'info', format: '${format}' })
    const loaded = Object.keys(createRequire(import.meta.url).cache)
    log.info({ loaded: loaded.filter((path) => /pino-pretty.index/.test(path)).length }, 'first')
    for (let line = 0; line < ${count}; line++) log.info({ line }, 'counted')
    log.info({}, 'last')
    process.kill(process.pid, 'SIGKILL')`
  const { stdout, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
  })
  if (signal !== 'SIGKILL') throw new Error(`ended by ${signal}`)
  return stdout.trim().split('\n')
}

t.test('every line is written before the process dies', async (t) => {
  for (const format of ['json', 'pretty'] as const) {
    const lines = logAndDie(format, 2000)
    t.equal(lines.length, 2002)
    t.match(lines.at(-1), 'last')
  }
})

t.test('pino-pretty is loaded for a pretty log only', async (t) => {
  t.match(JSON.parse(logAndDie('json', 0)[0] ?? ''), { msg: 'first', loaded: 0 })
  t.match(logAndDie('pretty', 0)[0], '"loaded":1')
})
