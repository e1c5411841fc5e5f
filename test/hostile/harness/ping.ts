import { connect, type Socket } from 'node:net'
import { nowMs } from './now.ts'

const REQUEST = 'GET /healthz HTTP/1.1\r\nHost: prober\r\n\r\n'

export type Pinger = {
  /** Since when an answer is waited for; undefined when none is. */
  pendingSince(): number | undefined
  /** Asks, unless an answer is still waited for. */
  ask(): void
  close(): void
}

/** Asks a health page over one kept connection, a new one when that is closed, one question at a time. */
export function startPinger(
  port: number,
  onAnswer: (sentAt: number, answeredAt: number, connections: number) => void,
): Pinger {
  let socket: Socket | undefined
  let since: number | undefined
  let isClosed = false
  /** That the present question has needed. */
  let connections = 0

  function open(): Socket {
    const opened = connect({ port, host: '127.0.0.1', noDelay: true })
    opened.on('data', (chunk) => {
      if (since === undefined || !chunk.includes('\r\n\r\n')) return
      const sentAt = since
      since = undefined
      onAnswer(sentAt, nowMs(), connections)
    })
    opened.on('error', () => opened.destroy())
    opened.on('close', () => {
      if (socket === opened) socket = undefined
      // A server that was held for long drops the connection when it comes to itself: until then counts.
      if (since !== undefined && connections === 0) onAnswer(since, nowMs(), connections)
      // The question went down with the connection: asked again on the next one, and waited for since then.
      if (since !== undefined && !isClosed) setTimeout(resend, 5)
    })
    return opened
  }

  function resend(): void {
    if (isClosed) return
    if (socket === undefined) connections += 1
    socket ??= open()
    socket.write(REQUEST)
  }

  return {
    pendingSince: () => since,
    ask() {
      if (since !== undefined) return
      since = nowMs()
      connections = 0
      resend()
    },
    close() {
      isClosed = true
      socket?.destroy()
    },
  }
}
