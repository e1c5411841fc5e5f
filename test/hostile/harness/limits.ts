/** What must hold in every attack; milliseconds and MiB. */
export const LIMITS = { heldMs: 100, noiseMs: 50, peakMiB: 250, tmpfsMiB: 128, factor: 3, allowanceMs: 500 }
