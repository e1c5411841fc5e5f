import { fstatSync } from 'node:fs'
import { createDisk, type Disk } from '../../src/volume/disk.ts'

/** The operations that change something: a process can be killed before each. */
const STEPS = [
  'create',
  'write',
  'truncate',
  'chown',
  'chmod',
  'setMtime',
  'mkdir',
  'symlink',
  'rename',
  'unlink',
  'rmdir',
] as const satisfies readonly (keyof Disk)[]
type Step = (typeof STEPS)[number]

export class Killed extends Error {}

/** One event: a swap of `..data`, or content or modification time of the file with this inode. */
export type Deed = { kind: 'swap' } | { kind: 'modify'; inode: number }

/**
 * A real disk on which the process is killed before its step number `dieAt`: from there on nothing changes
 * any more, whatever clean-up tries. Writes are half done first when `tear` is set.
 */
export function createFailingDisk(options: {
  dieAt?: number
  tear?: boolean
  deeds?: Deed[]
  /** Looks at the volume before each step. */
  onStep?: () => void
}): Disk & { steps(): number } {
  const { dieAt = Number.POSITIVE_INFINITY, tear = false, deeds = [], onStep } = options
  const real = createDisk()
  let steps = 0
  const wrapped = Object.fromEntries(
    STEPS.map((step) => [
      step,
      (...args: unknown[]) => {
        onStep?.()
        if (steps++ >= dieAt) {
          if (tear && step === 'write' && steps === dieAt + 1) tearWrite(real, args)
          throw new Killed(`killed before ${step}`)
        }
        record(deeds, step, args)
        return (real[step] as (...args: unknown[]) => unknown)(...args)
      },
    ]),
  ) as Pick<Disk, Step>
  return { ...real, ...wrapped, steps: () => steps }
}

function tearWrite(real: Disk, [fd, bytes]: unknown[]): void {
  const whole = bytes as Uint8Array
  real.write(fd as number, whole.subarray(0, whole.byteLength >> 1))
}

function record(deeds: Deed[], step: Step, args: unknown[]): void {
  if (step === 'rename' && args[3] === '..data') deeds.push({ kind: 'swap' })
  if (step === 'write' || step === 'truncate' || step === 'setMtime') {
    deeds.push({ kind: 'modify', inode: fstatSync(args[0] as number).ino })
  }
}
