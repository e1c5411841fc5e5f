import type { Helper, Listener } from '../../src/sandbox/helper.ts'
import type { Job, Told, Warm } from '../../src/sandbox/messages.ts'

/** A process of which the test says what it does and how much CPU time it has used. */
export class FakeHelper implements Helper {
  readonly jobs: Job[] = []
  isWarm = false
  usedMs = 0
  isKilled = false
  isHeld = false
  failSendWith: Error | undefined
  #listener: Listener | undefined

  send(job: Job | Warm): void {
    if (this.failSendWith) throw this.failSendWith
    if (job.kind === 'warm') this.isWarm = true
    else this.jobs.push(job)
  }

  cpuMs(): number {
    return this.usedMs
  }

  kill(): void {
    this.isKilled = true
    setImmediate(() => this.#listener?.onGone())
  }

  hold(isHeld: boolean): void {
    this.isHeld = isHeld
  }

  listen(listener: Listener): void {
    this.#listener = listener
  }

  tell(told: Told): void {
    this.#listener?.onTold(told)
  }

  /** As when the kernel takes it. */
  die(): void {
    this.#listener?.onGone()
  }

  begin(): void {
    this.tell({ kind: 'begun', cpuMs: this.usedMs })
  }

  finish(result: unknown = 'result', rssBytes = 50 << 20): void {
    this.tell({ kind: 'done', result, rssBytes })
  }
}
