import { appendFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { type Attacker, createAttacker } from './attacker.ts'
import { LIMITS } from './limits.ts'
import { nowMs } from './now.ts'
import { PLUGIN_ROOT } from './plugin-process.ts'
import { type Stage, type StageOptions, startStage } from './stage.ts'
import type { VictimEvent } from './victim-messages.ts'

/** One attack, described by what the attacker does. */
export type Attack = {
  name: string
  /** Number of the finding whose class it is of. */
  finding: number
  /** Before the figures are taken: what costs the test itself, such as secrets in Vault. */
  prepare?(attacker: Attacker): Promise<void>
  /** The attack; a breach that only it can see it reports by `attacker.accuse`. */
  run(attacker: Attacker): Promise<unknown>
  /** The attack itself restarts the plugin. */
  restarts?: boolean
  /** The test itself stops the process for a while: times of this attack say nothing. */
  stops?: boolean
  /** Its tokens have no right to revoke themselves, and end by their TTL. */
  keepsTokens?: boolean
  /** Calls of the victim that may fail with this, for the attack takes away what they need. */
  forgives?: RegExp
}

/** What was measured while one attack ran; times in milliseconds, memory in MiB. A publish is an unpublish too. */
export type Figures = {
  group: string
  attack: string
  finding: number
  heldMs: number
  answerMs: number
  idleMs: number
  /** The idle server held for so long, measured in the same way: noise. */
  idleHeldMs: number
  publishMs: number
  publishMedianMs: number
  rotationMs: number
  quietPublishMs: number
  quietRotationMs: number
  peakMiB: number
  tmpfsMiB: number
  seconds: number
  broken: string[]
  /** Only slow, and run once more: the next figures count. */
  isTriedAgain?: true
}

const QUIET_MS = Number(process.env.HOSTILE_QUIET_MS ?? 6_000)
const TMPFS_EVERY_MS = 100
const ATTACK_TIMEOUT_MS = 480_000
const RUN_LIMIT_MS = 60_000
const FILE_TIMEOUT_MS = 900_000

type Experience = { publishes: number[]; rotations: number[]; errors: string[] }

/** Runs the attacks of one file, one after the other, on one stage. */
export async function runAttacks(
  group: string,
  attacks: readonly Attack[],
  options: StageOptions = {},
): Promise<void> {
  const only = process.env.HOSTILE_ONLY
  const chosen = attacks.filter(({ name }) => only === undefined || name.includes(only))
  if (chosen.length === 0) return
  t.setTimeout(FILE_TIMEOUT_MS)
  const stage = await startStage(options)
  const attacker = createAttacker(stage)
  const quiet = await beQuiet(stage)
  t.comment(
    `quiet: publish ${quiet.publishMs.toFixed(0)} ms, rotation ${quiet.rotationMs.toFixed(0)} ms at worst`,
  )
  /** Each attack meets a plugin that the one before has not hurt. */
  async function recover(): Promise<void> {
    await stage.restart({ kill: true })
    await attacker.leave()
    attacker.forget()
    stage.hinterland.restore()
    // A new process has met none of the victim's imports.
    await stage.untilVictimPublished()
  }
  for (const attack of chosen) {
    await t.test(`${attack.finding}: ${attack.name}`, { timeout: ATTACK_TIMEOUT_MS }, async (t) => {
      let figures = await suffer(stage, attacker, attack, quiet, group)
      if (isOnlySlow(figures)) {
        // A shared machine is slow at times: only a call that is slow twice is blamed on the attack.
        note({ ...figures, isTriedAgain: true })
        t.comment(`slow, tried again: ${brief(figures)}`)
        await recover()
        figures = await suffer(stage, attacker, attack, quiet, group)
      }
      note(figures)
      t.comment(brief(figures))
      t.strictSame(figures.broken, [], 'no limit is broken')
      if (figures.broken.length > 0) await recover()
    })
  }
  await t.test(`${group}: nothing is left at the end`, { timeout: 60_000 }, async (t) => {
    t.strictSame(await stage.close(), [])
  })
}

type Quiet = { publishMs: number; rotationMs: number }

async function beQuiet(stage: Stage): Promise<Quiet> {
  await stage.untilVictimPublished()
  const began = nowMs()
  await stage.beginWindow()
  await sleep(QUIET_MS)
  await stage.endWindow()
  const { publishes, rotations, errors } = experienceOf(stage.events, began, nowMs())
  if (errors.length > 0) throw new Error(`the victim has errors in peace: ${errors.join('; ')}`)
  return { publishMs: Math.max(...publishes), rotationMs: Math.max(...rotations) }
}

async function suffer(
  stage: Stage,
  attacker: Attacker,
  attack: Attack,
  quiet: Quiet,
  group: string,
): Promise<Figures> {
  await attack.prepare?.(attacker)
  const { pid } = stage.plugin()
  await stage.beginWindow()
  const began = nowMs()
  let tmpfsMiB = 0
  const timer = setInterval(() => {
    tmpfsMiB = Math.max(tmpfsMiB, stage.tmpfsMiB('attacker'))
  }, TMPFS_EVERY_MS)
  const broken: string[] = []
  try {
    const late = sleep(RUN_LIMIT_MS, 'late' as const, { ref: false })
    if ((await Promise.race([attack.run(attacker), late])) === 'late') {
      broken.push(`the attack was not through after ${RUN_LIMIT_MS / 1000} s`)
      // What still waits for the plugin ends with it.
      await stage.plugin().kill()
    }
  } catch (error) {
    broken.push(`the attack ended with ${(error as Error).message.slice(0, 300)}`)
  }
  const isUsable = await stage.untilVictimPublished()
  if (!isUsable) broken.push('the victim cannot publish any more')
  clearInterval(timer)
  const window = await stage.endWindow()
  const ended = nowMs()
  broken.push(...judgeProcess(stage, attack, pid))
  if (!stage.plugin().hasEnded())
    broken.push(...(await attacker.leave()).filter((fault) => !isExcused(attack, fault)))
  else
    await stage
      .restart()
      .catch(() => undefined)
      .then(() => attacker.leave())
  const { publishes, rotations, errors } = experienceOf(stage.events, began, ended)
  const figures: Figures = {
    group,
    attack: attack.name,
    finding: attack.finding,
    heldMs: window.heldMs,
    answerMs: window.worstMs,
    idleMs: window.idleWorstMs,
    idleHeldMs: window.idleHeldMs,
    publishMs: Math.max(0, ...publishes),
    publishMedianMs: median(publishes),
    rotationMs: Math.max(0, ...rotations),
    quietPublishMs: quiet.publishMs,
    quietRotationMs: quiet.rotationMs,
    peakMiB: window.peakMiB,
    tmpfsMiB,
    seconds: (ended - began) / 1000,
    broken,
  }
  broken.push(...judgeFigures(figures, attack))
  const told = errors.filter((error) => !attack.forgives?.test(error))
  if (told.length > 0) broken.push(`the victim met ${told.length} errors: ${told[0]}`)
  broken.push(
    ...stage.hinterland
      .changes()
      .slice(0, 3)
      .map((change) => `outside of volumes: ${change}`),
  )
  return figures
}

function isExcused({ keepsTokens }: Attack, fault: string): boolean {
  return keepsTokens === true && fault.includes('Vault tokens left')
}

/** Limits of time are broken and no others. */
function isOnlySlow({ broken }: Figures): boolean {
  return broken.length > 0 && broken.every((what) => / ms, at most /.test(what))
}

function judgeProcess(stage: Stage, attack: Attack, pid: number): string[] {
  if (stage.plugin().hasEnded()) {
    const { exitCode, signalCode } = stage.plugin().process
    return [`the plugin ended (${exitCode ?? signalCode}): ${stage.plugin().output().slice(-300)}`]
  }
  return attack.restarts || stage.plugin().pid === pid ? [] : ['the plugin was started again']
}

function judgeFigures(figures: Figures, attack: Attack): string[] {
  const bound = (quietMs: number) => LIMITS.factor * quietMs + LIMITS.allowanceMs
  const judge = (what: string, value: number, limit: number, unit: string) =>
    value <= limit || (attack.stops && unit === 'ms')
      ? []
      : [`${what} ${value.toFixed(0)} ${unit}, at most ${limit.toFixed(0)}`]
  // A machine that keeps an idle server for so long keeps the plugin as well; that much and no more is forgiven.
  const noiseMs = Math.min(figures.idleHeldMs, LIMITS.noiseMs)
  return [
    ...judge('event loop held for', figures.heldMs, LIMITS.heldMs + noiseMs, 'ms'),
    ...judge("victim's publish", figures.publishMs, bound(figures.quietPublishMs), 'ms'),
    ...judge("victim's rotation", figures.rotationMs, bound(figures.quietRotationMs), 'ms'),
    ...judge('RSS', figures.peakMiB, LIMITS.peakMiB, 'MiB'),
    ...judge("attacker's tmpfs", figures.tmpfsMiB, LIMITS.tmpfsMiB, 'MiB'),
  ]
}

/** Whatever the victim was doing at any time between the two. */
function experienceOf(events: readonly VictimEvent[], began: number, ended: number): Experience {
  const met = events.filter((event) => event.began + event.ms >= began && event.began <= ended)
  const times = (kind: VictimEvent['kind']) =>
    met.filter((event) => event.kind === kind).map((event) => event.ms)
  return {
    publishes: [...times('publish'), ...times('unpublish')],
    rotations: times('rotation'),
    errors: met
      .filter(({ kind }) => kind === 'error' || kind === 'wrong')
      .map(({ kind, what, ms }) => `${kind}: ${what} (after ${ms.toFixed(0)} ms)`),
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0
}

/** For the table at the end: test files are processes of their own. */
function note(figures: Figures): void {
  const path = process.env.HOSTILE_FIGURES
  if (path !== undefined) appendFileSync(path, `${JSON.stringify({ ...figures, root: PLUGIN_ROOT })}\n`)
}

function brief(figures: Figures): string {
  const { heldMs, answerMs, idleMs, publishMs, rotationMs, peakMiB, tmpfsMiB, seconds } = figures
  return (
    `held ${heldMs.toFixed(0)} ms (answer ${answerMs.toFixed(0)}, idle server ${idleMs.toFixed(0)}), ` +
    `publish ${publishMs.toFixed(0)}, rotation ${rotationMs.toFixed(0)} ms, ` +
    `RSS ${peakMiB.toFixed(0)} MiB, tmpfs ${tmpfsMiB.toFixed(1)} MiB, ${seconds.toFixed(1)} s`
  )
}
