// Not from attack.ts: that one loads tap, which would run a test of its own in the runner.
import type { Figures } from './attack.ts'
import { LIMITS } from './limits.ts'

/** Markdown: what was met in each attack, and beneath it the worst of all. */
export function tableOf(figures: readonly Figures[]): string {
  const rows = figures.map((one) => [
    String(one.finding),
    one.attack.replaceAll('|', '\\|'),
    one.heldMs.toFixed(0),
    `${one.publishMs.toFixed(0)} (${one.quietPublishMs.toFixed(0)})`,
    `${one.rotationMs.toFixed(0)} (${one.quietRotationMs.toFixed(0)})`,
    one.peakMiB.toFixed(0),
    one.tmpfsMiB.toFixed(1),
    outcomeOf(one),
  ])
  const worst = (of: (one: Figures) => number) => Math.max(0, ...figures.map(of)).toFixed(0)
  const counted = figures.filter(({ isTriedAgain }) => !isTriedAgain)
  const succeeded = counted.filter(({ broken }) => broken.length > 0).length
  return [
    '| finding | attack | loop held, ms | publish (quiet), ms | rotation (quiet), ms | RSS peak, MiB | tmpfs, MiB | outcome |',
    '|---|---|---|---|---|---|---|---|',
    ...rows.map((row) => `| ${row.join(' | ')} |`),
    '',
    `${counted.length} attacks, ${succeeded} succeeded. Worst: loop held ${worst((one) => one.heldMs)} ms (at most ` +
      `${LIMITS.heldMs}), publish ${worst((one) => one.publishMs)} ms, rotation ${worst((one) => one.rotationMs)} ms, ` +
      `RSS ${worst((one) => one.peakMiB)} MiB (at most ${LIMITS.peakMiB}).`,
  ].join('\n')
}

function outcomeOf({ broken, isTriedAgain }: Figures): string {
  if (broken.length === 0) return 'held off'
  const what = broken.join('; ').replaceAll(/[|\n]/g, ' ').slice(0, 300)
  return isTriedAgain ? `slow, tried again: ${what}` : what
}
