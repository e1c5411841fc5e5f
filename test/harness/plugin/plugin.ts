import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectKubelet } from '../kubelet/kubelet.ts'

const READY_TIMEOUT_MS = 20_000
const STOP_TIMEOUT_MS = 15_000

export type Plugin = {
  readonly process: ChildProcess
  readonly endpoint: string
  /** Milliseconds from spawn until Probe said ready. */
  readonly readyMs: number
  /** Everything it printed. */
  output(): string
  /** SIGTERM, then the exit code. @throws Error when it does not end in time */
  stop(): Promise<number | null>
  /** As the kernel's OOM killer would: no handler runs. */
  kill(): Promise<void>
}

/**
 * Starts the real plugin as its own process and waits until it says that it is ready.
 * @param options.program main.ts as it lies in src, or the built dist/main.js
 * @throws Error with the plugin's own output when it ends or does not get ready
 */
export async function startPlugin(options: {
  endpoint: string
  args: readonly string[]
  env?: Readonly<Record<string, string>>
  program?: string
  execArgv?: readonly string[]
}): Promise<Plugin> {
  const program = options.program ?? resolve(import.meta.dirname, '../../../src/main.ts')
  const argv = [...(options.execArgv ?? []), program, `--endpoint=${options.endpoint}`, ...options.args]
  const startedAt = performance.now()
  // A group of its own: Ctrl-C in the terminal reaches only us, and we end it in order.
  const child = spawn(process.execPath, argv, {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, ...options.env },
  })
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk))
  const exited = once(child, 'close') as Promise<[number | null]>
  const output = () => Buffer.concat(chunks).toString()

  await untilReady(child, options.endpoint, output)
  return {
    process: child,
    endpoint: options.endpoint,
    readyMs: performance.now() - startedAt,
    output,
    async stop() {
      child.kill('SIGTERM')
      const late = sleep(STOP_TIMEOUT_MS, 'late' as const, { ref: false })
      const ended = await Promise.race([exited, late])
      if (ended !== 'late') return ended[0]
      child.kill('SIGKILL')
      throw new Error(`the plugin did not end within ${STOP_TIMEOUT_MS} ms of SIGTERM:\n${output()}`)
    },
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
  }
}

async function untilReady(child: ChildProcess, endpoint: string, output: () => string): Promise<void> {
  const path = endpoint.replace(/^unix:\/\//, '')
  const until = performance.now() + READY_TIMEOUT_MS
  while (performance.now() < until) {
    if (child.exitCode !== null || child.signalCode !== null) break
    if (existsSync(path) && (await probe(endpoint))) return
    await sleep(5)
  }
  child.kill('SIGKILL')
  throw new Error(`the plugin did not get ready:\n${output()}`)
}

async function probe(endpoint: string): Promise<boolean> {
  const kubelet = connectKubelet(endpoint)
  try {
    return await kubelet.probe()
  } catch {
    return false
  } finally {
    kubelet.close()
  }
}
