import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../harness/free-port.ts'
import type { PodVolume } from '../harness/kubelet/pod-volume.ts'
import { type Attack, runAttacks } from './harness/attack.ts'
import type { Attacker } from './harness/attacker.ts'
import { PLUGIN_PROGRAM } from './harness/plugin-process.ts'
import { descriptors } from './harness/proc.ts'

// A second process, no descriptors, no state directory: no attack, and no harm must follow.

const FILES = ['a', 'b', 'c', 'd', 'e', 'f']
/** A start on a busy machine. */
const SECOND_STAYS_MS = 20_000
const files = FILES.map((name) => ({ name, source: { path: 'attacker1/x', key: 'value' } }))

/** Another process with the same flags; it must do nothing but wait or end with an error. */
async function second({ stage, expect }: Attacker, own: { socket: string; state: string }): Promise<void> {
  const args = [
    PLUGIN_PROGRAM,
    `--endpoint=unix://${own.socket}`,
    '--node-id=node-1',
    `--imports=dir:${join(stage.folder, 'imports')}`,
    `--state-dir=${own.state}`,
    `--vault-addr=${stage.world.bao.address}`,
    `--http-addr=127.0.0.1:${await freePort()}`,
    '--log-format=json',
  ]
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const ended = once(child, 'exit') as Promise<[number | null]>
  const isReadable = () => /another process|already|in use|locked/i.test(said)
  const isAtWork = () => /"msg":"(ready|gRPC server listens)"/.test(said)
  for (let waited = 0; waited < SECOND_STAYS_MS && child.exitCode === null; waited += 100) {
    if (isReadable() || isAtWork()) break
    await sleep(100)
  }
  const end = await Promise.race([ended, sleep(1_000, 'waits' as const)])
  if (end === 'waits') {
    child.kill('SIGKILL')
    await ended
  }
  // It may wait for the first one's end, as in a rollout; it may not work beside it.
  expect(end === 'waits' || end[0] !== 0, 'the second process ended well')
  expect(!isAtWork(), 'the second process went to work beside the first')
  expect(isReadable(), `the second process says nothing readable: ${said.slice(-200)}`)
}

/** First publishes that take a while to be written, one after the other in a few lanes, while other processes start. */
const secondProcess = (
  name: string,
  place: (attacker: Attacker) => { socket: string; state: string },
): Attack => ({
  name,
  finding: 19,
  async run(attacker) {
    await attacker.put('x', { value: 'v', large: 'v'.repeat(12_000) })
    const { volume: standing } = await attacker.strike('standing', { files })
    const source = { path: 'attacker1/x', key: 'large' }
    const more = Array.from({ length: 140 }, (_, index) => ({ name: `large-${index}`, source }))
    await attacker.import('new', { files: [...files, ...more] })
    let isDone = false
    const lane = async (): Promise<void> => {
      while (!isDone) {
        const { error, volume } = await attacker.attempt({ importName: 'new' })
        attacker.expect(error === undefined, `a first publish failed: ${error?.message.slice(0, 200)}`)
        if (error === undefined) attacker.expect(isWhole(volume), 'answered OK, and the files are not there')
        await attacker.unpublish(volume)
      }
    }
    const lanes = Promise.all(Array.from({ length: 4 }, lane))
    await Promise.all(Array.from({ length: 3 }, () => second(attacker, place(attacker))))
    isDone = true
    await lanes
    attacker.expect(isWhole(standing), 'a standing volume has lost its files')
    const { error } = await attacker.attempt({ importName: 'new' })
    attacker.expect(
      error === undefined,
      `the first process is not usable any more: ${error?.message.slice(0, 200)}`,
    )
  },
})

function isWhole(volume: { path(file: string): string; read(file: string): string }): boolean {
  try {
    return FILES.every((name) => volume.read(name) === 'v')
  } catch {
    return false
  }
}

/** Lets the plugin open no more than a few files beyond those that it has. */
function limitDescriptors(pid: number, more: number): void {
  const names = readdirSync(`/proc/${pid}/fd`).map(Number)
  spawnSync('prlimit', ['--pid', String(pid), `--nofile=${Math.max(...names) + 1 + more}:`])
}

const starved = (updateMode: string): Attack => ({
  name: `out of descriptors in the middle of first publishes, ${updateMode}`,
  finding: 20,
  restarts: true,
  forgives: /./,
  async run(attacker) {
    const { stage } = attacker
    await attacker.put('x', { value: 'v' })
    await attacker.import('starved', { files, updateMode })
    await attacker.unpublish((await attacker.attempt({ importName: 'starved' })).volume)
    const { pid } = stage.plugin()
    const failed: PodVolume[] = []
    await stage.atRest(async () => {
      for (let more = 0; more < 14; more++) {
        limitDescriptors(pid, more)
        const { volume, error } = await attacker.attempt({ importName: 'starved', timeoutMs: 3_000 })
        if (error === undefined)
          attacker.expect(isWhole(volume), `OK with ${more} descriptors, and files are missing`)
        else failed.push(volume)
      }
      spawnSync('prlimit', ['--pid', String(pid), '--nofile=20000:'])
    })
    attacker.expect(descriptors(pid) < 200, `${descriptors(pid)} descriptors are open`)
    // Whatever failed is published again by kubelet, by the same process and by the next one.
    for (const volume of failed) {
      const error = await attacker.republish(volume).catch((thrown: Error) => thrown)
      if (error === undefined) attacker.expect(isWhole(volume), 'a partial set of files was taken for whole')
    }
    await attacker.restart()
    for (const volume of failed) {
      await attacker
        .republish(volume)
        .catch((thrown: Error) => attacker.accuse(`after a restart: ${thrown.message.slice(0, 200)}`))
      attacker.expect(isWhole(volume), 'a partial set of files was taken for whole after a restart')
    }
  },
})

/** Does something to the state directory, unpublishes, and puts it right again. */
const stateless = (name: string, spoil: (state: string) => void, mend: (state: string) => void): Attack => ({
  name: `unpublish with a state directory that is ${name}`,
  finding: 20,
  restarts: true,
  // New volumes cannot be written down.
  forgives: /./,
  async run(attacker) {
    const { stage } = attacker
    const state = join(stage.folder, 'state')
    await attacker.put('x', { value: 'v' })
    await attacker.import('plain', { files })
    const volumes: PodVolume[] = []
    for (let pod = 0; pod < 3; pod++) volumes.push((await attacker.attempt({ importName: 'plain' })).volume)
    await stage.atRest(async () => {
      spoil(state)
      for (const volume of volumes) {
        const error = await attacker.unpublish(volume).catch((thrown: Error) => thrown)
        attacker.expect(error === undefined, `unpublish failed: ${error?.message.slice(0, 200)}`)
        attacker.expect(!stage.mounts().includes(volume.target), 'unpublished, and still mounted')
      }
      mend(state)
    })
    await attacker.restart()
    const { error } = await attacker.attempt({ importName: 'plain' })
    attacker.expect(error === undefined, `no publish afterwards: ${error?.message.slice(0, 200)}`)
  },
})

const tmpfsOver = (options: string) => (state: string) => {
  spawnSync('cp', ['-a', state, `${state}-kept`])
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4k,nr_inodes=3', 'none', state])
  if (options !== '') spawnSync('mount', ['-o', options, state])
}

function uncover(state: string): void {
  spawnSync('umount', ['-l', state])
}

const attacks: Attack[] = [
  secondProcess('a second process on the same socket and state directory', ({ stage }) => ({
    socket: stage.socket,
    state: join(stage.folder, 'state'),
  })),
  secondProcess('a second process on another socket and the same state directory', ({ stage }) => ({
    socket: join(stage.folder, 'second.sock'),
    state: join(stage.folder, 'state'),
  })),
  secondProcess('a second process that reaches the state directory through a link', ({ stage }) => {
    spawnSync('ln', ['-sfn', 'state', join(stage.folder, 'state-link')])
    return { socket: join(stage.folder, 'third.sock'), state: join(stage.folder, 'state-link') }
  }),
  starved('InPlace'),
  starved('Live'),
  starved('Atomic'),
  stateless(
    'read-only',
    (state) =>
      spawnSync('mount', ['--bind', state, state]) && spawnSync('mount', ['-o', 'remount,bind,ro', state]),
    uncover,
  ),
  stateless('full and without inodes', tmpfsOver(''), uncover),
  stateless(
    'gone',
    (state) => renameSync(state, `${state}-away`),
    (state) => {
      rmSync(state, { recursive: true, force: true })
      renameSync(`${state}-away`, state)
    },
  ),
  stateless(
    'a file',
    (state) => {
      renameSync(state, `${state}-away`)
      writeFileSync(state, 'x')
    },
    (state) => {
      rmSync(state, { recursive: true, force: true })
      renameSync(`${state}-away`, state)
    },
  ),
]

await runAttacks('processes', attacks)
