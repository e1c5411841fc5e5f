import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { certificatesFault } from '../core/pem.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import { watchDirectory } from './watch.ts'

/**
 * Reads a PEM file of certificates and follows it: `onContent` is called with the first content before this resolves,
 * and again whenever it differs. Later content that is unreadable or not valid is logged, and the last good content
 * stays. The directory is watched, not the file: certificates arrive by rename or by kubelet's `..data` link.
 * @throws Error with a message for the cluster admin when the first content is not valid
 */
export async function watchFile(
  path: string,
  onContent: (pem: string) => void,
  deps: { log: Log; clock: Clock; signal?: AbortSignal },
): Promise<{ close(): Promise<void> }> {
  const { log, clock, signal } = deps
  let current = readCertificates(path)
  onContent(current)

  function reload(): void {
    try {
      const content = readCertificates(path)
      if (content === current) return
      current = content
      log.info({ path }, 'certificates reloaded')
      onContent(content)
    } catch (error) {
      const reason = error instanceof Error ? error.message : undefined
      log.error({ path, reason }, 'certificates cannot be reloaded, the last good ones stay')
    }
  }

  const watched = await watchDirectory({
    path: dirname(path),
    clock,
    log,
    onChange: reload,
    ...(signal && { signal }),
  })
  reload()
  return watched
}

function readCertificates(path: string): string {
  const text = readFileSync(path, 'utf8')
  const fault = certificatesFault(text)
  if (fault !== undefined) throw new Error(`${path} ${fault}`)
  return text
}
