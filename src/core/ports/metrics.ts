/** Counters and timings. ops/metrics.ts has the names and labels. */
export type Meter = {
  published(result: string, seconds: number): void
  unpublished(result: string, seconds: number): void
  rotated(result: 'unchanged' | 'changed' | 'failed', fault: string): void
  vaultCall(operation: string, result: string, seconds: number): void
  login(method: string, result: string): void
}
