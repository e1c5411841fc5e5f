/**
 * Lets everything proceed that is under way between sockets of this process: each iteration of the event loop reads
 * what has arrived. For tests that nothing more is sent; an event that must come is awaited itself.
 */
export async function drainEventLoop(iterations = 100): Promise<void> {
  for (let count = 0; count < iterations; count += 1) await new Promise(setImmediate)
}
