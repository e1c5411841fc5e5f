/** Milliseconds of CLOCK_MONOTONIC: the same in every process of this machine, so that their notes can be laid together. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
