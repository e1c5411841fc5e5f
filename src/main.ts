#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { parseArguments, version } from './commands/arguments.ts'
import { type App, startApp } from './commands/serve.ts'
import { createClock } from './ops/clock.ts'
import { createExecutableRelease } from './ops/executable.ts'
import { compactHeap } from './ops/heap.ts'
import { createLog } from './ops/log.ts'
import { readMemoryUse, startMemoryTrim } from './ops/memory-trim.ts'
import { createUtilization } from './ops/utilization.ts'

/** An orderly end takes at most this long after SIGTERM; kubelet gives a pod 30 s. */
const STOP_TIMEOUT_MS = 20_000

/** By number: whoever touches process.stdin makes a pipe of it that cannot be waited for. */
const STDIN = 0

if (process.argv[2] === 'doctor') process.exit(await runDoctor())
if (process.argv[2] === 'convert') await runConvert()

const config = parseArguments()
const log = await createLog({ level: config.logLevel, format: config.logFormat })

process.on('uncaughtException', (error) => end(1, error, 'unforeseen error, exiting'))
process.on('unhandledRejection', (error) => end(1, error, 'unforeseen error, exiting'))

let app: App | undefined
let phase: 'running' | 'stopping' = 'running'
// Some supervisors repeat SIGTERM: it must not cut off what is still being finished. A second Ctrl-C may.
process.on('SIGTERM', () => void stop('SIGTERM'))
process.once('SIGINT', () => void stop('SIGINT'))
process.on('SIGHUP', () => void app?.reload())

try {
  app = await startApp(config, {
    log,
    onFatal: (error) => end(1, error, 'kubelet refused the plugin, exiting'),
  })
  startMemoryTrim({
    clock: createClock(),
    log,
    memory: readMemoryUse,
    utilization: createUtilization(),
    compactHeap,
    releaseExecutable: createExecutableRelease(),
  })
} catch (error) {
  // No secret has been read yet, and without the words nobody could tell which file or address it was.
  log.error({ reason: error instanceof Error ? error.message : String(error), error }, 'start failed')
  process.exit(1)
}

/** Unmounts nothing: the pods go on with their files, and the next process takes the volumes up. */
async function stop(signal: string): Promise<void> {
  if (phase === 'stopping') return
  phase = 'stopping'
  log.info({ signal }, 'stopping')
  setTimeout(
    () => end(1, new Error('not stopped in time'), 'stop took too long, exiting'),
    STOP_TIMEOUT_MS,
  ).unref()
  await app?.stop()
  log.info({}, 'stopped')
  process.exit(0)
}

function end(code: number, error: unknown, message: string): never {
  log.error({ error }, message)
  process.exit(code)
}

/** Loaded only when it is called, as the doctor is. */
async function runConvert(): Promise<never> {
  const { convert } = await import('./commands/convert/convert.ts')
  const written: string[] = []
  const code = convert({
    argv: process.argv.slice(3),
    read: (file) => readFileSync(file ?? STDIN, 'utf8'),
    write: (text) => void written.push(text),
    writeError: (text) => void process.stderr.write(text),
  })
  // To a pipe it is written in pieces: the process may end when the last is through.
  await new Promise<void>((resolve) => process.stdout.write(written.join(''), () => resolve()))
  process.exit(code)
}

/** Loaded only when it is called: the plugin's process knows nothing of it. */
async function runDoctor(): Promise<number> {
  const { doctor } = await import('./commands/doctor/doctor.ts')
  const stopped = new AbortController()
  process.once('SIGINT', () => stopped.abort(new Error('stopped')))
  const deps = {
    argv: process.argv.slice(3),
    env: process.env,
    version: version(),
    clock: createClock(),
    write: (text: string) => void process.stdout.write(text),
    writeError: (text: string) => void process.stderr.write(text),
  }
  return doctor(deps, stopped.signal).catch((error: unknown) => {
    deps.writeError(`vault-files-csi doctor: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  })
}
