import { closeSync, ftruncateSync, openSync, readdirSync, writeSync } from 'node:fs'
import { type Attack, runAttacks } from './harness/attack.ts'
import type { Attacker } from './harness/attacker.ts'

// Memory: of the process and of the node, whose volumes are memory too.

const MIB = 2 ** 20
const file = (name: string, more: object = {}) => ({
  name,
  source: { path: 'attacker1/large', key: 'value' },
  ...more,
})

const putLarge =
  (mib: number) =>
  async ({ put }: Attacker) => {
    await put('large', { value: 'x'.repeat(mib * MIB), small: 's' })
  }

async function changeLarge({ put }: Attacker, mib: number, letter: string): Promise<void> {
  await put('large', { value: letter.repeat(mib * MIB), small: letter })
}

const many = (
  name: string,
  files: object,
  options: { mib: number; finding?: number; more?: object },
): Attack => ({
  name,
  finding: options.finding ?? 6,
  prepare: putLarge(options.mib),
  async run(attacker) {
    await attacker.strike('many', { files, refreshInterval: '1s', ...options.more })
    await attacker.dwell(1)
  },
})

const copies = (count: number, more: (index: number) => object = () => ({})) =>
  Array.from({ length: count }, (_, index) => file(`copy-${index}`, more(index)))

/** What a root container does to the files of a volume that it may write: then a rotation, then a new process. */
const sparse = (
  name: string,
  updateMode: string,
  at: (target: string) => string[],
  size: number,
): Attack => ({
  name,
  finding: 7,
  restarts: true,
  async prepare({ put }) {
    await put('small', { value: 'first' })
  },
  async run(attacker) {
    const spec = {
      files: [{ name: 'value', source: { path: 'attacker1/small', key: 'value' } }],
      refreshInterval: '1s',
      updateMode,
    }
    const { volume, error } = await attacker.strike('sparse', spec, { readOnly: false })
    if (error !== undefined) throw error
    for (const path of at(volume.target)) {
      const fd = openSync(path, 'a')
      ftruncateSync(fd, size)
      closeSync(fd)
    }
    await attacker.put('small', { value: 'second' })
    await attacker.dwell(2.5)
    if (attacker.stage.plugin().hasEnded()) return
    await attacker.restart()
    await attacker.republish(volume).catch(() => undefined)
    await attacker.dwell(1)
  },
})

const attacks: Attack[] = [
  many('200 files of one value of 1.5 MB', copies(200), { mib: 1.5 }),
  many(
    '200 files of one value of 1.5 MB, by templates',
    copies(200, () => ({ source: { path: 'attacker1/large' }, template: '{{ value }}' })),
    { mib: 1.5 },
  ),
  many(
    'a value of 3 MB as 60 files of each encoding',
    copies(60, (index) => ({ encoding: ['utf-8', 'base64', 'hex'][index % 3] })),
    { mib: 3 },
  ),
  many('60 times the whole path in each format', [file('small')], {
    mib: 1.5,
    more: {
      files: undefined,
      dataFrom: Array.from({ length: 60 }, (_, index) => ({
        path: 'attacker1/large',
        format: ['JSON', 'Dotenv', 'Shell', 'Properties'][index % 4],
        fileName: `f-${index}`,
      })),
    },
  }),
  many(
    '1,000 small outputs of one value of 3 MB',
    Array.from({ length: 1_000 }, (_, index) => ({
      name: `t-${index}`,
      source: { path: 'attacker1/large' },
      template: `{{ small }}${index}`,
    })),
    { mib: 3 },
  ),
  {
    name: '20 pods at once: each 30 paths of 3 MB of which nothing fits',
    finding: 6,
    async prepare({ put }) {
      const value = 'x'.repeat(3 * MIB)
      for (let index = 0; index < 30; index++) await put(`large-${index}`, { value })
    },
    async run(attacker) {
      const files = Array.from({ length: 30 }, (_, index) => ({
        name: `f-${index}`,
        source: { path: `attacker1/large-${index}`, key: 'value' },
      }))
      for (let pod = 0; pod < 20; pod++) await attacker.import(`greedy-${pod}`, { files })
      await Promise.all(
        Array.from({ length: 20 }, (_, pod) =>
          attacker.attempt({ importName: `greedy-${pod}`, serviceAccount: `sa-${pod}` }),
        ),
      )
    },
  },
  {
    name: '96 volumes of 2 MB in one pod, then a new value for all',
    finding: 6,
    prepare: putLarge(1.8),
    async run(attacker) {
      await attacker.import('volumes', { files: [file('value')], refreshInterval: '1s' })
      for (let round = 0; round < 6; round++) {
        await Promise.all(Array.from({ length: 16 }, () => attacker.attempt({ importName: 'volumes' })))
      }
      await changeLarge(attacker, 1.8, 'y')
      await attacker.dwell(2)
    },
  },
  {
    name: '60 full volumes of as many service accounts rotate at once',
    finding: 6,
    prepare: putLarge(3.5),
    async run(attacker) {
      await attacker.import('full', { files: [file('value')], refreshInterval: '1s', updateMode: 'InPlace' })
      for (let round = 0; round < 6; round++) {
        const pods = Array.from({ length: 10 }, (_, pod) =>
          attacker.attempt({ importName: 'full', serviceAccount: `sa-${round}-${pod}` }),
        )
        await Promise.all(pods)
      }
      for (const letter of ['y', 'z']) {
        await changeLarge(attacker, 3.5, letter)
        await attacker.dwell(1.5)
      }
    },
  },
  {
    name: 'containers fill 60 writable volumes to the brim',
    finding: 6,
    async prepare({ put }) {
      await put('small', { value: 'first' })
    },
    async run(attacker) {
      await attacker.import('brim', {
        files: [{ name: 'value', source: { path: 'attacker1/small', key: 'value' } }],
        refreshInterval: '1s',
      })
      // Side by side: each pod is an identity of its own, and their refreshes take all the calls of the namespace.
      for (let round = 0; round < 6; round++) {
        const pods = Array.from({ length: 10 }, () =>
          attacker.attempt({ importName: 'brim', readOnly: false }),
        )
        for (const { volume, error } of await Promise.all(pods)) {
          if (error === undefined) fillUp(volume.path('junk'))
        }
      }
      await attacker.put('small', { value: 'second' })
      await attacker.dwell(2)
    },
  },
  sparse(
    'a sparse file of 1.9 GB beside the files',
    'Live',
    (target) => [`${target}/..slot-a/hole`, `${target}/..slot-b/hole`],
    1.9e9,
  ),
  sparse('the own file made 1.9 GB long, InPlace', 'InPlace', (target) => [`${target}/value`], 1.9e9),
  sparse(
    'the own file made 1.9 GB long in both slots',
    'Live',
    (target) => [`${target}/..slot-a/value`, `${target}/..slot-b/value`],
    1.9e9,
  ),
  sparse(
    '200 sparse files of 100 MB',
    'InPlace',
    (target) => Array.from({ length: 200 }, (_, index) => `${target}/hole-${index}`),
    1e8,
  ),
  sparse(
    'a sparse file of 8 TB, Atomic',
    'Atomic',
    (target) =>
      readdirSync(target)
        .filter((name) => name.startsWith('..2') || name.startsWith('..g'))
        .map((name) => `${target}/${name}/value`)
        .concat(`${target}/hole`),
    8e12,
  ),
  {
    name: 'the store of leases in the volume, made long or filled with braces',
    finding: 7,
    restarts: true,
    async prepare({ put }) {
      await put('small', { value: 'first' })
    },
    async run(attacker) {
      const { volume, error } = await attacker.strike(
        'safe',
        { files: [{ name: 'value', source: { path: 'attacker1/small', key: 'value' } }] },
        { readOnly: false },
      )
      if (error !== undefined) throw error
      for (const name of ['..safe', '..held', '..holdings', '..leases', '..issued']) {
        const fd = openSync(volume.path(name), 'a')
        writeSync(fd, '{"a":'.repeat(1_000))
        ftruncateSync(fd, 1.9e9)
        closeSync(fd)
      }
      await attacker.restart()
    },
  },
]

function fillUp(path: string): void {
  const fd = openSync(path, 'w')
  try {
    for (;;) writeSync(fd, Buffer.alloc(MIB, 'j'))
  } catch {
    // Full, which is what it wanted.
  } finally {
    closeSync(fd)
  }
}

await runAttacks('memory', attacks)
