/** Widens the limits of time and no others, for machines that are shared. */
const slack = Number(process.env.HOSTILE_TIME_SLACK ?? 1)

/** What must hold in every attack; milliseconds and MiB. */
export const LIMITS = {
  heldMs: 100 * slack,
  noiseMs: 50,
  peakMiB: 250,
  tmpfsMiB: 128,
  factor: 3 * slack,
  allowanceMs: 500 * slack,
}
