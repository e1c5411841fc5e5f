import type { Report, Task, WarmUp } from '../../src/sandbox/messages.ts'
import type { ProcessListener, SandboxProcess } from '../../src/sandbox/sandbox-process.ts'

/** A sandbox process whose reports and CPU time the test sets. */
export class FakeSandboxProcess implements SandboxProcess {
  readonly tasks: Task[] = []
  isWarm = false
  usedMs = 0
  isKilled = false
  isHeld = false
  failSendWith: Error | undefined
  #listener: ProcessListener | undefined

  send(message: Task | WarmUp): void {
    if (this.failSendWith) throw this.failSendWith
    if (message.kind === 'warm-up') this.isWarm = true
    else this.tasks.push(message)
  }

  cpuMs(): number {
    return this.usedMs
  }

  kill(): void {
    this.isKilled = true
    setImmediate(() => this.#listener?.onExit())
  }

  hold(isHeld: boolean): void {
    this.isHeld = isHeld
  }

  listen(listener: ProcessListener): void {
    this.#listener = listener
  }

  report(report: Report): void {
    this.#listener?.onReport(report)
  }

  /** As when the kernel kills it. */
  die(): void {
    this.#listener?.onExit()
  }

  begin(): void {
    this.report({ kind: 'begun', cpuMs: this.usedMs })
  }

  finish(result: unknown = 'result', rssBytes = 50 << 20): void {
    this.report({ kind: 'done', result, rssBytes })
  }
}
