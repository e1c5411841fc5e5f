import type { IncomingMessage } from 'node:http'
import type { Clock } from '../core/ports.ts'

/** Bytes of one answer or one line: etcd keeps objects below 1.5 MiB, and lists come in pages. */
const LARGEST = 64 * 1024 * 1024

/**
 * The whole body as JSON; undefined when it is empty or something else.
 * @throws Error when it is too large or cut off
 */
export async function readJson(message: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of message) {
    length += chunk.length
    if (length > LARGEST) throw new Error('the answer is too large')
    chunks.push(chunk)
  }
  return parsed(Buffer.concat(chunks).toString('utf8'))
}

/**
 * The body's lines, each as JSON; lines that are something else are passed over.
 * @param options.silenceMs fails when nothing comes for so long
 * @param options.done called once when the stream is over, however it ends
 */
export async function* readLines(
  message: IncomingMessage,
  options: { silenceMs: number; clock: Pick<Clock, 'after'>; done: () => void },
): AsyncGenerator<unknown> {
  const { silenceMs, clock, done } = options
  const watchdog = () =>
    clock.after(silenceMs, () => message.destroy(new Error(`silent for ${silenceMs / 1000} s`)))
  let cancel = watchdog()
  let rest = ''
  try {
    message.setEncoding('utf8')
    for await (const chunk of message) {
      cancel()
      cancel = watchdog()
      rest += chunk
      if (rest.length > LARGEST) throw new Error('a line is too large')
      const lines = rest.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const value = parsed(line)
        if (value !== undefined) yield value
      }
    }
  } finally {
    cancel()
    done()
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
