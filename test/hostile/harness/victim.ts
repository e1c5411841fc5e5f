// The victim, a process of its own: it publishes and unpublishes new volumes one after the other, has three standing
// ones whose secret changes every second and a half, and reads all their files. It reports whatever it meets.
import { setTimeout as sleep } from 'node:timers/promises'
import { connectKubelet, type Kubelet } from '../../harness/kubelet/kubelet.ts'
import { type PodVolume, podVolume, tokensFor } from '../../harness/kubelet/pod-volume.ts'
import { createTokenIssuer } from '../../harness/pki/token-issuer.ts'
import { createVaultAdmin, type VaultAdmin } from '../../harness/vault/vault-admin.ts'
import { describing, generationOf } from '../../harness/volume/set-reader.ts'
import { nowMs } from './now.ts'
import {
  PUBLISHED,
  VICTIM,
  type VictimEvent,
  type VictimOrder,
  type VictimReport,
} from './victim-messages.ts'

const BETWEEN_MS = 30
const CHANGE_EVERY_MS = 1_500
const READ_EVERY_MS = 10
/** A rotation that has not come by then is missed. */
const MISSED_MS = 20_000
const REPUBLISH_EVERY_MS = 5_000
const CALL_TIMEOUT_MS = 30_000
const STANDING = ['standing-live', 'standing-inplace', 'standing-template']
const APP = { user: 'app', password: 'correct horse' }
const EXPECTED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  plain: APP,
  template: { dsn: 'postgres://app:correct%20horse@db/app' },
}

const issuer = createTokenIssuer()
let kubelet: Kubelet
let admin: VaultAdmin
let folder = ''
let generation = 0
let count = 0
let wishes = 0
let standing: PodVolume[] = []
/** Published, and not unpublished yet: a plugin that was killed takes its calls along, and kubelet would call again. */
const left = new Set<PodVolume>()
let tasks: Promise<void>[] = []
let isRunning = false

const report = (message: VictimReport) => process.send?.(message)

process.on('message', (order: VictimOrder) => {
  void take(order).catch((error: Error) => {
    process.stderr.write(`victim: ${error.stack}\n`)
    process.exit(1)
  })
})
process.on('disconnect', () => process.exit(0))
report({ kind: 'keys', issuer: issuer.issuer, publicKeyPem: issuer.publicKeyPem })

async function take(order: VictimOrder): Promise<void> {
  if (order.kind === 'set-up') {
    folder = order.folder
    kubelet = connectKubelet(order.endpoint)
    admin = createVaultAdmin({ address: order.adminAddress, token: order.rootToken })
    await admin.write('secret/data/victim/app', { data: APP })
    await change()
    standing = await Promise.all(STANDING.map((importName) => firstPublish(importName)))
  }
  if (order.kind === 'set-up' || order.kind === 'begin') {
    isRunning = true
    republish()
    tasks = [publishing(), changing(), reading()]
    report({ kind: 'running' })
  }
  if (order.kind === 'rest') {
    await rest()
    report({ kind: 'resting' })
  }
  if (order.kind === 'finish') {
    await rest()
    for (const volume of [...standing, ...left]) await unpublish(volume).catch(() => undefined)
    report({ kind: 'finished' })
  }
}

async function rest(): Promise<void> {
  isRunning = false
  await Promise.all(tasks)
}

/** The plugin may not have met the import yet. */
async function firstPublish(importName: string): Promise<PodVolume> {
  const deadline = nowMs() + 15_000
  const volume = wish(importName, 'standing')
  for (;;) {
    try {
      await kubelet.nodePublish(volume.args)
      return volume
    } catch (error) {
      if (nowMs() > deadline) throw error
      await sleep(50)
    }
  }
}

async function publishing(): Promise<void> {
  while (isRunning) {
    for (const what of PUBLISHED) {
      count += 1
      // Every third pod is the first of its service account, and costs a login.
      const volume = wish(what, count % 3 === 0 ? `first-${count}` : 'standing')
      await timed('publish', what, () => kubelet.nodePublish({ ...volume.args, timeoutMs: CALL_TIMEOUT_MS }))
      for (const [file, wanted] of Object.entries(EXPECTED[what] ?? {})) check(volume, file, wanted)
      left.add(volume)
      await timed('unpublish', what, () => unpublish(volume))
      await sleep(BETWEEN_MS)
    }
  }
}

function check(volume: PodVolume, file: string, wanted: string): void {
  try {
    const found = volume.read(file)
    if (found !== wanted) tell('wrong', `${file} holds ${found.slice(0, 40)}`, nowMs())
  } catch {
    // The publish itself failed, which is reported already.
  }
}

async function changing(): Promise<void> {
  while (isRunning) {
    const began = nowMs()
    await change()
    const wanted = generation
    const written = nowMs()
    const left = new Set(standing)
    while (isRunning && left.size > 0 && nowMs() - began < MISSED_MS) {
      for (const volume of left) if (readGeneration(volume) === wanted) left.delete(volume)
      await sleep(READ_EVERY_MS)
    }
    if (left.size === 0) tell('rotation', 'all three', written)
    // After a request to rest there is no verdict on the rotation.
    if (!isRunning) return
    for (const volume of left) tell('error', `rotation of ${volume.args.importName} missed`, written)
    await sleep(Math.max(0, CHANGE_EVERY_MS - (nowMs() - began)))
  }
}

async function change(): Promise<void> {
  generation += 1
  const value = describing(generation, 100 + (generation % 5) * 2_000)
  await admin.write('secret/data/victim/standing', { data: { value } })
}

async function reading(): Promise<void> {
  const newest = new Map<PodVolume, number>()
  while (isRunning) {
    for (const volume of standing) {
      let found = readGeneration(volume)
      // InPlace promises no more: a reader may meet the one write of a file.
      if (found === undefined && volume.args.importName === 'standing-inplace') {
        await sleep(READ_EVERY_MS)
        found = readGeneration(volume)
      }
      const before = newest.get(volume) ?? 0
      if (found === undefined || found < before) {
        tell('wrong', `${volume.args.importName} reads generation ${found} after ${before}`, nowMs())
      } else newest.set(volume, found)
    }
    await sleep(READ_EVERY_MS)
  }
}

/** undefined: torn, or not there. */
function readGeneration(volume: PodVolume): number | undefined {
  try {
    return generationOf(volume.read('value'))
  } catch {
    return undefined
  }
}

function wish(importName: string, serviceAccount: string): PodVolume {
  wishes += 1
  const volumeId = `${VICTIM}-${wishes}`
  return podVolume(folder, issuer, { importName, namespace: VICTIM, serviceAccount, volumeId })
}

async function unpublish(volume: PodVolume): Promise<void> {
  const { args, target } = volume
  await kubelet.nodeUnpublish({ volumeId: args.volumeId, targetPath: target })
  left.delete(volume)
}

async function timed(kind: 'publish' | 'unpublish', what: string, call: () => Promise<void>): Promise<void> {
  const began = nowMs()
  try {
    await call()
    tell(kind, what, began)
  } catch (error) {
    tell('error', `${kind} of ${what}: ${(error as Error).message.slice(0, 300)}`, began)
  }
}

function tell(kind: VictimEvent['kind'], what: string, began: number): void {
  report({ kind, what, began, ms: nowMs() - began })
}

/** As kubelet does every minute: the standing volumes' tokens stay fresh. */
function republish(): void {
  for (const { args } of standing) {
    const call = kubelet.nodePublish({
      ...args,
      tokens: tokensFor(issuer, args.pod),
      timeoutMs: CALL_TIMEOUT_MS,
    })
    call.catch((error: Error) => tell('error', `republish: ${error.message.slice(0, 300)}`, nowMs()))
  }
}

setInterval(() => isRunning && republish(), REPUBLISH_EVERY_MS)
