/**
 * The longest that this thread computed between two turns of the event loop, in milliseconds, until asked: what others
 * on the machine take meanwhile does not count.
 */
export function measureHolds(): () => number {
  let last = cpuMs()
  let longest = 0
  const timer = setInterval(look, 1)
  function look(): void {
    const now = cpuMs()
    longest = Math.max(longest, now - last)
    last = now
  }
  return () => {
    clearInterval(timer)
    look()
    return longest
  }
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}
