import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { atExit } from '../../harness/at-exit.ts'

/** A part of the suite in a process of its own, so that other work does not delay what it measures. */
export type Child<Sent extends object, Heard extends object> = {
  send(message: Sent): void
  /** The next message of this kind. */
  next<Kind extends Heard extends { kind: infer K } ? K : never>(
    kind: Kind,
  ): Promise<Extract<Heard, { kind: Kind }>>
  onMessage(listen: (message: Heard) => void): void
  close(): Promise<void>
}

/** @param program a file beside this one */
export function startChild<Sent extends object, Heard extends { kind: string }>(
  program: string,
): Child<Sent, Heard> {
  // Neither tap's loaders nor its coverage belong into it.
  const { NODE_V8_COVERAGE: _coverage, NODE_OPTIONS: _options, ...env } = process.env
  const child: ChildProcess = fork(join(import.meta.dirname, program), { execArgv: [], env })
  const listeners: ((message: Heard) => void)[] = []
  child.on('message', (message) => {
    for (const listen of [...listeners]) listen(message as Heard)
  })
  const kill = () => child.kill('SIGKILL')
  const cancelKill = atExit(kill)
  const exited = once(child, 'exit')
  return {
    send: (message) => {
      child.send(message)
    },
    onMessage: (listen) => {
      listeners.push(listen)
    },
    next: (kind) =>
      new Promise((resolve, reject) => {
        const ended = () => reject(new Error(`${program} ended before it said ${String(kind)}`))
        child.once('exit', ended)
        const listen = (message: Heard) => {
          if (message.kind !== kind) return
          listeners.splice(listeners.indexOf(listen), 1)
          child.off('exit', ended)
          resolve(message as never)
        }
        listeners.push(listen)
      }),
    async close() {
      if (child.connected) child.disconnect()
      const timer = setTimeout(kill, 5_000)
      await exited
      clearTimeout(timer)
      cancelKill()
    },
  }
}
