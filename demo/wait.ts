import { setTimeout as sleep } from 'node:timers/promises'

/** What the demo waits for comes within a few looks of the plugin, in milliseconds. */
export const LOOK_TIMEOUT_MS = 15_000

/** @throws Error naming `what` when it does not come */
export async function waitFor(isTrue: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + LOOK_TIMEOUT_MS
  while (!isTrue()) {
    if (performance.now() > deadline) throw new Error(`gave up waiting for ${what}`)
    await sleep(20)
  }
}
