import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { lstatSync, mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PodVolume } from '../harness/kubelet/pod-volume.ts'
import { type Attack, runAttacks } from './harness/attack.ts'
import type { Attacker } from './harness/attacker.ts'

// A container that is root and mounts its volume writable: it is played by processes that work in the target path.
// What must not be touched lies in the stage's hinterland and is compared after every attack.

const HARNESS = join(import.meta.dirname, 'harness')
const MODES = ['Live', 'InPlace', 'Atomic'] as const
const SLOTS = ['..slot-a', '..slot-b']
/** Refreshed ten times a second at most: many rotations in little time. */
const REFRESH = '150ms'

const specOf = (updateMode: string) => ({
  files: ['value', 'password', 'token'].map((name) => ({
    name,
    source: { path: 'attacker1/rotating', key: 'value' },
  })),
  refreshInterval: REFRESH,
  updateMode,
})

async function writable(attacker: Attacker, updateMode: string): Promise<PodVolume> {
  await attacker.put('rotating', { value: 'rotation 0' })
  const { volume, error } = await attacker.strike(updateMode.toLowerCase(), specOf(updateMode), {
    readOnly: false,
  })
  if (error !== undefined) throw error
  return volume
}

async function rotate(attacker: Attacker, times: number, everySeconds = 0.25): Promise<void> {
  for (let rotation = 1; rotation <= times; rotation++) {
    await attacker.put('rotating', { value: `rotation ${rotation}`.repeat(1 + (rotation % 7)) })
    await attacker.dwell(everySeconds)
  }
}

/** Something done once to a volume, then some rotations, then a new process and some more. */
const tamper = (
  name: string,
  modes: readonly string[],
  act: (volume: PodVolume, outside: string, attacker: Attacker) => void,
  finding = 10,
): Attack => ({
  name,
  finding,
  restarts: true,
  async run(attacker) {
    const outside = attacker.stage.hinterland.path
    const volumes = await Promise.all(modes.map((mode) => writable(attacker, mode)))
    for (const volume of volumes) act(volume, outside, attacker)
    await rotate(attacker, 4)
    for (const volume of volumes) act(volume, outside, attacker)
    await attacker.restart()
    for (const volume of volumes) await attacker.republish(volume).catch(() => undefined)
    await rotate(attacker, 2)
  },
})

/** Puts `make` in the place of what is at `path`, as far as that goes. */
function replace(path: string, make: (path: string) => void): void {
  try {
    if (lstatSync(path, { throwIfNoEntry: false })) renameSync(path, `${path}-moved-${Date.now()}`)
    make(path)
  } catch {
    // Another update mode has no such thing.
  }
}

const linkTo = (outside: string) => (path: string) => symlinkSync(outside, path)
const filesOf = (volume: PodVolume) => ['', ...SLOTS].map((slot) => volume.path(join(slot, 'value')))

/** 200 rotations while directories of the volume become links and directories again, thousands of times a second. */
const race = (mode: string): Attack => ({
  name: `directories that become links in 200 rotations, ${mode}`,
  finding: 10,
  async run(attacker) {
    const outside = attacker.stage.hinterland.path
    const volumes = await Promise.all(Array.from({ length: 10 }, () => writable(attacker, mode)))
    const places = volumes.flatMap((volume) => [
      `${volume.target}:top`,
      ...(mode === 'Live' ? SLOTS : []).map((slot) => `${volume.path(slot)}:junk`),
    ])
    for (const half of [places.slice(0, places.length / 2), places.slice(places.length / 2)]) {
      attacker.run('python3', [join(HARNESS, 'racer.py'), outside, '5', ...half])
    }
    await rotate(attacker, 24)
    // The racers go on while the volumes are unpublished.
  },
})

const attacks: Attack[] = [
  ...MODES.map(race),
  tamper('files become links to files outside', MODES, (volume, outside) => {
    for (const path of filesOf(volume)) replace(path, linkTo(join(outside, 'value')))
  }),
  tamper('slots become links to a directory outside', ['Live', 'Atomic'], (volume, outside) => {
    for (const slot of SLOTS) replace(volume.path(slot), linkTo(join(outside, 'deep')))
    replace(volume.path('..data'), linkTo(join(outside, 'deep')))
  }),
  tamper('..data leads outside by dots, by /proc, to itself', ['Live', 'Atomic'], (volume, outside) => {
    for (const to of [`..${'/..'.repeat(9)}${outside}`, '/proc/self/root/etc', '..data', '..', '../..']) {
      replace(volume.path('..data'), linkTo(to))
      replace(volume.path('..data_tmp'), linkTo(to))
    }
  }),
  tamper('..data_tmp is a full directory', ['Live', 'Atomic'], (volume) => {
    replace(volume.path('..data_tmp'), (path) => {
      mkdirSync(path)
      writeFileSync(join(path, 'stays'), 'x')
    })
  }),
  tamper(
    'files become FIFOs, sockets, devices',
    MODES,
    (volume) => {
      for (const path of filesOf(volume)) {
        replace(path, (place) => void spawnSync('mkfifo', [place]))
        spawnSync('mkfifo', [`${path}-fifo`])
        spawnSync('mknod', [`${path}-zero`, 'c', '1', '5'])
        spawnSync('mknod', [`${path}-full`, 'c', '1', '7'])
      }
      replace(volume.path('..slot-a'), (place) => void spawnSync('mkfifo', [place]))
    },
    7,
  ),
  tamper('files become directories, with files of the same names', MODES, (volume) => {
    for (const path of filesOf(volume)) {
      replace(path, (place) => {
        mkdirSync(join(place, 'value/value'), { recursive: true })
        writeFileSync(join(place, 'value/value/value'), 'x')
      })
    }
  }),
  tamper(
    'leases on every file: who opens them waits 45 s',
    MODES,
    (volume, _outside, attacker) => {
      attacker.run('python3', [join(HARNESS, 'leases.py'), ...filesOf(volume)])
      spawnSync('sleep', ['0.3'])
    },
    7,
  ),
  tamper(
    '30,000 inodes',
    MODES,
    (volume) => {
      const script =
        'import os,sys\nfor i in range(30000):\n  try: open(f"{sys.argv[1]}/n{i}","w").close()\n  except OSError: break'
      spawnSync('python3', ['-c', script, volume.target])
      spawnSync('python3', ['-c', script, volume.path('..slot-a')])
    },
    7,
  ),
  tamper(
    'a tree 3,000 deep, and a wide one',
    MODES,
    (volume) => {
      const script =
        'import os,sys\nos.chdir(sys.argv[1])\nfor i in range(3000):\n  try: os.mkdir("d"*100)\n  except OSError: break\n  os.chdir("d"*100)'
      for (const place of [volume.target, volume.path('..slot-a')])
        spawnSync('python3', ['-c', script, place])
    },
    7,
  ),
  tamper(
    'no rights on anything, and names of every byte',
    MODES,
    (volume) => {
      spawnSync('chmod', ['-R', '000', volume.target])
      const script =
        'import os,sys\nfor i in range(1,256):\n  try: open(sys.argv[1].encode()+b"/x"+bytes([i])*200,"w").close()\n  except OSError: pass'
      spawnSync('python3', ['-c', script, volume.target])
    },
    7,
  ),
  tamper(
    'a process that sits in the volume and holds all files open',
    MODES,
    (volume, _outside, attacker) => {
      const script =
        'import os,sys,time\nos.chdir(sys.argv[1])\nheld=[open(os.path.join(p,f)) for p,_,n in os.walk(".") for f in n]\ntime.sleep(600)'
      attacker.run('python3', ['-c', script, volume.target])
    },
    7,
  ),
  {
    name: 'the target path is a link to a directory outside',
    finding: 11,
    async run(attacker) {
      const { stage } = attacker
      attacker.later(() => unmountBelow(attacker, stage.hinterland.path))
      await attacker.import('plain', specOf('Live'))
      await attacker.put('rotating', { value: 'x' })
      await attacker.unpublish((await attacker.attempt({ importName: 'plain' })).volume)
      for (const to of [stage.hinterland.path, join(stage.hinterland.path, 'deep'), stage.folder, '..']) {
        const targetPath = join(stage.folder, 'attacker', `link-${to.length}`, 'mount')
        mkdirSync(join(targetPath, '..'), { recursive: true })
        symlinkSync(to, targetPath)
        await attacker.attempt({ importName: 'plain', targetPath })
        const mounted = stage.mounts().filter((path) => !path.includes('/victim/') && path !== targetPath)
        attacker.expect(mounted.length === 0, `mounted at ${mounted.join(' ')}`)
        for (const path of mounted) spawnSync('umount', ['-l', path])
        // kubelet's own is back before it unpublishes.
        rmSync(targetPath, { recursive: true, force: true })
      }
    },
  },
  {
    name: 'the target path becomes a link and a directory while 40 volumes are published there',
    finding: 11,
    async run(attacker) {
      const { stage } = attacker
      attacker.later(() => unmountBelow(attacker, stage.hinterland.path))
      await attacker.import('plain', specOf('Live'))
      await attacker.put('rotating', { value: 'x' })
      const targetPath = join(stage.folder, 'attacker/flip/mount')
      mkdirSync(join(targetPath, '..'), { recursive: true })
      const place = `${join(targetPath, '..')}:mount`
      const racer = attacker.run('python3', [join(HARNESS, 'racer.py'), stage.hinterland.path, '0', place])
      for (let attempt = 0; attempt < 40; attempt++) {
        const { volume } = await attacker.attempt({ importName: 'plain', targetPath, timeoutMs: 5_000 })
        const outside = stage.mounts().filter((path) => path.startsWith(stage.hinterland.path))
        if (outside.length > 0) return attacker.accuse(`mounted at ${outside.join(' ')}`)
        await attacker.unpublish(volume).catch(() => undefined)
      }
      const ended = once(racer, 'exit')
      racer.kill('SIGKILL')
      await ended
      for (const name of ['mount', 'mount.link']) unlinkLink(join(targetPath, '..', name))
      // A directory that was moved while it was mounted on took its mount along, still beside the target.
      attacker.later(() => unmountBelow(attacker, join(targetPath, '..')))
    },
  },
]

/** Mounts where no volume belongs: reported already, and in the way of the next attack. */
function unmountBelow({ stage }: Attacker, path: string): void {
  for (const mounted of stage.mounts()) if (mounted.startsWith(path)) spawnSync('umount', ['-l', mounted])
}

/** A link goes; a directory, or what is mounted there, stays for the plugin to take away. */
function unlinkLink(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) unlinkSync(path)
}

await runAttacks('volume', attacks, { args: ['--min-refresh-interval=100ms'] })
