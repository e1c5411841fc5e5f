/** Time. Unit tests pass a fake one and never sleep. */
export type Clock = {
  /**
   * Wall time, milliseconds since the Unix epoch. It may step in either direction: only for what Vault, Kubernetes or a
   * certificate says in wall time, and for what people read.
   */
  now(): number
  /** Milliseconds from an arbitrary start, never stepping: for every duration. Of no meaning to another process. */
  monotonic(): number
  /** Runs `task` once after `delayMs`; the answer cancels it. Never keeps the process alive. */
  after(delayMs: number, task: () => void): () => void
  /** Resolves after `delayMs`; rejects with the signal's reason when it aborts first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>
}
