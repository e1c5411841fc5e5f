/**
 * Works on all items, at most `atOnce` at a time, in their order. After a failure no other is begun; rejects when
 * those under way have ended, with the failure of the first in order.
 */
export async function eachOf<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const failures = new Map<number, unknown>()
  const left = items.entries()

  async function worker(): Promise<void> {
    for (const [index, item] of left) {
      if (failures.size > 0) return
      try {
        await work(item)
      } catch (error) {
        failures.set(index, error)
      }
    }
  }

  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
  if (failures.size > 0) throw failures.get(Math.min(...failures.keys()))
}
