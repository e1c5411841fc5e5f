/** Time. Unit tests use a fake clock and never sleep. */
export type Clock = {
  /**
   * Wall time, milliseconds since the Unix epoch. It may jump in either direction: use it only for times that come from
   * Vault, Kubernetes or a certificate, and for times that people read.
   */
  now(): number
  /** Milliseconds from an arbitrary start, without jumps: for every duration. Meaningless to another process. */
  monotonic(): number
  /** Runs `task` once after `delayMs`; returns a function that cancels it. Never keeps the process alive. */
  after(delayMs: number, task: () => void): () => void
  /** Resolves after `delayMs`; rejects with the signal's reason when it aborts first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>
}
