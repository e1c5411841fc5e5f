import { performance } from 'node:perf_hooks'

/** A function that tells the share of time in which the event loop was busy since its last call, 0 to 1. */
export function createUtilization(): () => number {
  let before = performance.eventLoopUtilization()
  return () => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, before)
    before = now
    return utilization
  }
}
