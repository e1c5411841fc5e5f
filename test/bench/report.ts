import { sum } from './figures.ts'
import type { RaceResult, Ratio } from './race.ts'
import type { SweepResult } from './sweep.ts'
import type { Leg } from './workers.ts'

export type Results = {
  machine: Record<string, string | number>
  readyMs: { median: number; all: number[] }
  race: RaceResult[]
  sweeps: SweepResult[]
}

export type Verdict = { what: string; wanted: string; got: number; isMet: boolean }

/** The figures that the project holds itself to; of those parts that ran. */
export function judge({ readyMs, race, sweeps }: Results): Verdict[] {
  const rss = (pick: (sweep: SweepResult) => number) => Math.max(...sweeps.map(pick))
  const [one] = sweeps
  return [
    ...race.flatMap(({ concurrency, ratio: { distinct, shared } }) => [
      atLeast(`${concurrency} at a time, distinct identities: of the bare login + read`, distinct.bare, 0.7),
      atLeast(`${concurrency} at a time, distinct identities: of it behind a gRPC call`, distinct.hop, 0.7),
      atLeast(`${concurrency} at a time, one identity: of the bare login + read`, shared.bare, 3),
    ]),
    ...(one === undefined
      ? []
      : [
          atMost('Vault calls in an interval, unchanged, one identity', sum(one.unchanged.calls), 2),
          atMost('CPU seconds of it', one.unchanged.cpuSeconds, 1),
          atMost(
            'RSS idle, MiB',
            rss((sweep) => sweep.rss.idle),
            85,
          ),
          atMost(
            'RSS at all volumes, MiB',
            rss((sweep) => sweep.rss.all),
            110,
          ),
        ]),
    ...(readyMs.all.length === 0 ? [] : [atMost('start to ready, ms', readyMs.median, 1000)]),
  ]
}

function atLeast(what: string, got: number, least: number): Verdict {
  return { what, wanted: `≥ ${least}`, got, isMet: got >= least }
}

function atMost(what: string, got: number, most: number): Verdict {
  return { what, wanted: `≤ ${most}`, got, isMet: got <= most }
}

/** Everything as Markdown, which reads well in a terminal too. */
export function render(results: Results): string {
  const { machine, readyMs, race, sweeps } = results
  const about = Object.entries(machine).map(([name, value]) => `${name} ${value}`)
  const rates = ['rate', 'at a time', 'per second', 'p50 ms', 'p99 ms', 'of bare / gRPC']
  const sweepHeads = ['volumes', 'identities', 'Vault calls', 'CPU s', 'wall s']
  const changeHeads = ['changed: Vault calls', 'CPU s', 'first file s', 'last file s']
  const starts = readyMs.all.map(Math.round).join(', ')
  return [
    about.join(', '),
    ...(race.length === 0 ? [] : [table(rates, race.flatMap(raceRows))]),
    ...(sweeps.length === 0
      ? []
      : [
          table([...sweepHeads, ...changeHeads], sweeps.map(sweepRow)),
          table(['RSS MiB', 'idle', 'some volumes', 'all volumes', 'after sweeps'], sweeps.map(rssRow)),
        ]),
    ...(starts === '' ? [] : [`start to ready: ${Math.round(readyMs.median)} ms, median of ${starts}`]),
    table(['target', 'wanted', 'got', ''], judge(results).map(verdictRow)),
  ].join('\n\n')
}

function raceRows({ concurrency, bare, hop, distinct, shared, ratio }: RaceResult): string[][] {
  const row = (name: string, leg: Leg, share = '') => [
    name,
    String(concurrency),
    String(Math.round(leg.perSecond)),
    leg.p50Ms.toFixed(2),
    leg.p99Ms.toFixed(2),
    share,
  ]
  const shares = ({ bare, hop }: Ratio) => `${bare.toFixed(2)} / ${hop.toFixed(2)}`
  return [
    row('bare: login', bare.login),
    row('bare: read', bare.read),
    row('bare: login + read', bare.pair),
    row('gRPC: nothing', hop.nothing),
    row('gRPC: bare login + read', hop.pair),
    row('gRPC: bare login + read, tmpfs, one file', hop['pair-and-tmpfs']),
    row('publish, an identity for each pod', distinct.publish, shares(ratio.distinct)),
    row('publish, one identity', shared.publish, shares(ratio.shared)),
    row('unpublish, an identity for each pod', distinct.unpublish),
    row('unpublish, one identity', shared.unpublish),
  ]
}

function sweepRow({ identities, volumes, unchanged, changed }: SweepResult): string[] {
  return [
    String(volumes),
    String(identities),
    String(sum(unchanged.calls)),
    unchanged.cpuSeconds.toFixed(2),
    unchanged.wallSeconds.toFixed(1),
    String(sum(changed.calls)),
    changed.cpuSeconds.toFixed(2),
    changed.firstSeconds.toFixed(2),
    changed.lastSeconds.toFixed(2),
  ]
}

function rssRow({ identities, rss }: SweepResult): string[] {
  const { idle, some, all, end } = rss
  return [`identities: ${identities}`, ...[idle, some, all, end].map((mib) => mib.toFixed(1))]
}

function verdictRow({ what, wanted, got, isMet }: Verdict): string[] {
  return [what, wanted, round(got), isMet ? 'met' : 'MISSED']
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
