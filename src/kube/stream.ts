import type { Clock } from '../core/ports/clock.ts'
import type { Reply } from './wire.ts'

/** What came is larger than anything that may be meant. */
export class TooLarge extends Error {}

/**
 * The whole body as JSON; undefined when it is empty or something else.
 * @throws TooLarge; Error when it is cut off
 */
export async function readJson({ body, isWhole }: Body, mostBytes: number): Promise<unknown> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > mostBytes) throw new TooLarge(`the answer is larger than ${mostBytes} bytes`)
    chunks.push(chunk)
  }
  if (!isWhole()) throw cutOff()
  return parseJson(Buffer.concat(chunks).toString('utf8'))
}

/**
 * The body's lines, empty ones left out. Whoever takes them parses those that it needs.
 * @param options.mostBytes of one line
 * @param options.silenceMs fails when nothing comes for so long
 * @param options.done called once when the stream is over, however it ends
 */
export async function* readLines(
  { body, isWhole }: Body,
  options: { mostBytes: number; silenceMs: number; clock: Pick<Clock, 'after'>; done: () => void },
): AsyncGenerator<string> {
  const { mostBytes, silenceMs, clock, done } = options
  const watchdog = () =>
    clock.after(silenceMs, () => body.destroy(new Error(`silent for ${silenceMs / 1000} s`)))
  let cancel = watchdog()
  /** Of a line without its end yet: joined once, for a large one comes in a hundred pieces. */
  let parts: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      cancel()
      cancel = watchdog()
      let from = 0
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
        const line = Buffer.concat([...parts, chunk.subarray(from, end)]).toString('utf8')
        parts = []
        length = 0
        from = end + 1
        if (line !== '') yield line
      }
      parts.push(chunk.subarray(from))
      length += chunk.length - from
      if (length > mostBytes) throw new TooLarge(`a line is larger than ${mostBytes} bytes`)
    }
    if (!isWhole()) throw cutOff()
  } finally {
    cancel()
    done()
  }
}

const NEWLINE = 10

type Body = Pick<Reply, 'body' | 'isWhole'>

function cutOff(): Error {
  return new Error('the connection was cut off')
}

/** Undefined for what is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
