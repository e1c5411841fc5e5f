#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { parseArguments, version } from './commands/arguments.ts'
import { type App, startApp } from './commands/serve.ts'
import { createClock } from './ops/clock.ts'
import { createLog } from './ops/log.ts'

/** Longest orderly stop after SIGTERM; kubelet gives a pod 30 s. */
const STOP_TIMEOUT_MS = 20_000

/** The descriptor: accessing process.stdin would make it a stream that does not block. */
const STDIN = 0

/** Commands that end with an exit code. Each is loaded only when it runs. */
const commands = new Map([
  ['convert', convert],
  ['doctor', doctor],
])

const command = commands.get(process.argv[2] ?? '')
if (command !== undefined) process.exit(await command())
await serve()

/** Runs the plugin until a signal or a fatal error ends the process. */
async function serve(): Promise<void> {
  const config = parseArguments()
  const log = await createLog({ level: config.logLevel, format: config.logFormat })
  let app: App | undefined
  let phase: 'running' | 'stopping' = 'running'

  process.on('uncaughtException', (error) => end(error, 'unforeseen error, exiting'))
  process.on('unhandledRejection', (error) => end(error, 'unforeseen error, exiting'))
  // Some supervisors repeat SIGTERM: a second one must not cut off the stop. A second Ctrl-C may.
  process.on('SIGTERM', () => void stop('SIGTERM'))
  process.once('SIGINT', () => void stop('SIGINT'))
  process.on('SIGHUP', () => void app?.reload())

  try {
    app = await startApp(config, {
      log,
      onFatal: (error) => end(error, 'kubelet refused the plugin, exiting'),
    })
  } catch (error) {
    // No secret has been read yet, and only the message names the file or address at fault.
    log.error({ reason: error instanceof Error ? error.message : String(error), error }, 'start failed')
    process.exit(1)
  }

  /** Unmounts nothing: pods keep their files, and the next process adopts the volumes. */
  async function stop(signal: string): Promise<void> {
    if (phase === 'stopping') return
    phase = 'stopping'
    log.info({ signal }, 'stopping')
    setTimeout(
      () => end(new Error('not stopped in time'), 'stop took too long, exiting'),
      STOP_TIMEOUT_MS,
    ).unref()
    await app?.stop()
    log.info({}, 'stopped')
    process.exit(0)
  }

  function end(error: unknown, message: string): never {
    log.error({ error }, message)
    process.exit(1)
  }
}

async function convert(): Promise<number> {
  const { convert } = await import('./commands/convert/convert.ts')
  const written: string[] = []
  const code = convert({
    argv: process.argv.slice(3),
    read: (file) => readFileSync(file ?? STDIN, 'utf8'),
    write: (text) => void written.push(text),
    writeError: (text) => void process.stderr.write(text),
  })
  // Writes to a pipe are asynchronous: the process must not exit before the last one is done.
  await new Promise<void>((resolve) => process.stdout.write(written.join(''), () => resolve()))
  return code
}

async function doctor(): Promise<number> {
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
