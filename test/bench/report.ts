import type { RaceResult } from './race.ts'
import { type SweepResult, totalCalls } from './sweep.ts'
import type { Leg } from './workers.ts'

export type Results = {
  machine: Record<string, string | number>
  readyMs: { median: number; all: number[] }
  race: RaceResult[]
  sweeps: SweepResult[]
}

export type Verdict = { what: string; wanted: string; got: number; isMet: boolean }

/** The figures that the project holds itself to. */
export function judge({ readyMs, race, sweeps }: Results): Verdict[] {
  const [one] = sweeps
  const { rss, unchanged } = one ?? {}
  const atLeast = (what: string, got: number, least: number) => ({
    what,
    wanted: `≥ ${least}`,
    got,
    isMet: got >= least,
  })
  const atMost = (what: string, got: number, most: number) => ({
    what,
    wanted: `≤ ${most}`,
    got,
    isMet: got <= most,
  })
  return [
    ...race.flatMap(({ concurrency, ratio }) => [
      atLeast(
        `distinct identities, share of the floor's login+read, ${concurrency} at a time`,
        ratio.distinct,
        0.7,
      ),
      atLeast(`shared identity, times the floor's login+read, ${concurrency} at a time`, ratio.shared, 3),
    ]),
    atMost('Vault calls in an interval, 1,000 unchanged volumes', totalCalls(unchanged?.calls ?? {}), 2),
    atMost('CPU seconds of it', unchanged?.cpuSeconds ?? Number.NaN, 1),
    atMost('RSS idle, MiB', rss?.idle ?? Number.NaN, 85),
    atMost('RSS at 1,000 volumes, MiB', Math.max(...sweeps.map((sweep) => sweep.rss.all)), 110),
    atMost('start to ready, ms', readyMs.median, 1000),
  ]
}

/** Everything as Markdown, which reads well in a terminal too. */
export function render(results: Results): string {
  const { machine, readyMs, race, sweeps } = results
  return [
    ...Object.entries(machine).map(([name, value]) => `${name}: ${value}`),
    '',
    table(['rate', 'concurrency', 'per second', 'p50 ms', 'p99 ms', 'of the floor'], race.flatMap(raceRows)),
    '',
    table(
      [
        'sweep of volumes',
        'identities',
        'Vault calls',
        'CPU s',
        'wall s',
        'changed: calls',
        'CPU s',
        'first file s',
        'last file s',
      ],
      sweeps.map(sweepRow),
    ),
    '',
    table(
      ['RSS, MiB', 'idle', 'some volumes', 'all volumes', 'after the sweeps'],
      sweeps.map(({ identities, rss }) => [
        identities === 1 ? '1 identity' : `${identities} identities`,
        ...Object.values(rss).map((mib) => mib.toFixed(1)),
      ]),
    ),
    '',
    `start to ready: ${Math.round(readyMs.median)} ms (median of ${readyMs.all.length}: ${readyMs.all.map(Math.round).join(', ')})`,
    '',
    table(
      ['target', 'wanted', 'got', ''],
      judge(results).map(({ what, wanted, got, isMet }) => [
        what,
        wanted,
        round(got),
        isMet ? 'met' : 'MISSED',
      ]),
    ),
  ].join('\n')
}

function raceRows({ concurrency, floor, distinct, shared, ratio }: RaceResult): string[][] {
  const row = (name: string, leg: Leg, share = '') => [
    name,
    String(concurrency),
    String(Math.round(leg.perSecond)),
    leg.p50Ms.toFixed(2),
    leg.p99Ms.toFixed(2),
    share,
  ]
  return [
    row('floor: login', floor.login),
    row('floor: read', floor.read),
    row('floor: login + read', floor.pair, '1'),
    row('publish, an identity for each pod', distinct.publish, ratio.distinct.toFixed(2)),
    row('publish, one identity', shared.publish, ratio.shared.toFixed(2)),
    row('unpublish, an identity for each pod', distinct.unpublish),
    row('unpublish, one identity', shared.unpublish),
  ]
}

function sweepRow({ identities, volumes, unchanged, changed }: SweepResult): string[] {
  return [
    String(volumes),
    String(identities),
    String(totalCalls(unchanged.calls)),
    unchanged.cpuSeconds.toFixed(2),
    unchanged.wallSeconds.toFixed(1),
    String(totalCalls(changed.calls)),
    changed.cpuSeconds.toFixed(2),
    changed.firstSeconds.toFixed(2),
    changed.lastSeconds.toFixed(2),
  ]
}

function table(heads: readonly string[], rows: readonly string[][]): string {
  const widths = heads.map((head, column) =>
    Math.max(head.length, ...rows.map((row) => (row[column] ?? '').length)),
  )
  const line = (cells: readonly string[]) =>
    `| ${widths.map((width, column) => (cells[column] ?? '').padEnd(width)).join(' | ')} |`
  return [line(heads), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...rows.map(line)].join(
    '\n',
  )
}

function round(value: number): string {
  return String(Number(value.toPrecision(3)))
}
