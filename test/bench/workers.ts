import { percentile } from './figures.ts'

/** One leg of the bench: so many operations, so long each. */
export type Leg = { operations: number; perSecond: number; p50Ms: number; p99Ms: number }

/** Runs `work` over all items, `concurrency` at a time, each worker taking the next item as soon as it is free. */
export async function runLeg<Item>(
  items: readonly Item[],
  concurrency: number,
  work: (item: Item) => Promise<unknown>,
): Promise<Leg> {
  const queue = items.values()
  const times: number[] = []
  const startedAt = performance.now()
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      for (const item of queue) {
        const before = performance.now()
        await work(item)
        times.push(performance.now() - before)
      }
    }),
  )
  const seconds = (performance.now() - startedAt) / 1000
  return {
    operations: items.length,
    perSecond: items.length / seconds,
    p50Ms: percentile(times, 0.5),
    p99Ms: percentile(times, 0.99),
  }
}
