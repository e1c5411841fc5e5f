import { type Attack, runAttacks } from './harness/attack.ts'

// Secret values, keys and patterns: what stands in the own mount is the attacker's choice to the byte.

const FORMATS = ['Dotenv', 'Shell', 'Properties', 'JSON', 'Files'] as const

const values: Readonly<Record<string, string>> = {
  '120 kB of ${${': '${'.repeat(60_000),
  '900 kB of ${': '${'.repeat(450_000),
  '120 kB of quotes and backslashes': `'\\"`.repeat(40_000),
  '120 kB of spaces before a letter': `x${' '.repeat(120_000)}x`,
  '120 kB of line ends and #': '\n #'.repeat(40_000),
  '120 kB of $( and backticks': '$(`'.repeat(40_000),
  '900 kB of characters that need escapes': '\u0001\u2028é'.repeat(300_000),
}

/** A value in every format, one import each, all published at once. */
const formats = (name: string, text: string): Attack => ({
  name: `every format over ${name}`,
  finding: 4,
  async prepare({ put }) {
    await put('value', { VALUE: text })
  },
  async run(attacker) {
    for (const format of FORMATS) {
      const fileName = format === 'Files' ? {} : { fileName: 'out' }
      await attacker.import(format.toLowerCase(), {
        dataFrom: [{ path: 'attacker1/value', format, ...fileName }],
      })
    }
    await Promise.all(FORMATS.map((format) => attacker.attempt({ importName: format.toLowerCase() })))
  },
})

const patterns: Readonly<Record<string, string>> = {
  '^(a+)+$': 'a'.repeat(40),
  '(.*a){25}': 'a'.repeat(60),
  '^(([a-z])+.)+[A-Z]([a-z])+$': 'a'.repeat(60),
  '(\\w|\\d)*\\1$': '1'.repeat(60),
  '^(?=(a+))\\1{2,}b': 'a'.repeat(5_000),
  '(x+x+)+y': 'x'.repeat(60),
}

const pattern = (field: 'include' | 'exclude'): Attack => ({
  name: `${Object.keys(patterns).length * 10} entries whose ${field} has nested repetitions`,
  finding: 4,
  async prepare({ put }) {
    await put(
      'keys',
      Object.fromEntries(Object.values(patterns).map((key, index) => [`${key}${index}!`, 'v'])),
    )
  },
  async run(attacker) {
    const dataFrom = Array.from({ length: 10 }, (_, index) =>
      Object.keys(patterns).map((one) => ({ path: 'attacker1/keys', [field]: one, prefix: `p${index}-` })),
    ).flat()
    await attacker.strike('pattern', { dataFrom, refreshInterval: '1s' })
    await attacker.dwell(1)
  },
})

const attacks: Attack[] = [
  ...Object.entries(values).map(([name, text]) => formats(name, text)),
  pattern('include'),
  pattern('exclude'),
  {
    name: '20 volumes at once, each with a pattern of its own that does not end',
    finding: 4,
    async prepare({ put }) {
      await put('keys', { [`${'a'.repeat(60)}!`]: 'v' })
    },
    async run(attacker) {
      for (let index = 0; index < 20; index++) {
        const include = `^(a+)+${'$'.repeat(1)}|z{${index}}`
        await attacker.import(`p-${index}`, { dataFrom: [{ path: 'attacker1/keys', include }] })
      }
      await Promise.all(
        Array.from({ length: 20 }, (_, index) => attacker.attempt({ importName: `p-${index}` })),
      )
    },
  },
  {
    name: '400 keys as a file each',
    finding: 4,
    async prepare({ put }) {
      await put('many', Object.fromEntries(Array.from({ length: 400 }, (_, index) => [`k${index}`, 'v'])))
    },
    run: (attacker) => attacker.strike('many', { dataFrom: [{ path: 'attacker1/many' }] }),
  },
  {
    name: '400 keys in one file of each format, matched by a pattern',
    finding: 4,
    async prepare({ put }) {
      await put('many', Object.fromEntries(Array.from({ length: 400 }, (_, index) => [`k${index}`, 'v'])))
    },
    run: (attacker) =>
      attacker.strike('many', {
        dataFrom: FORMATS.slice(0, 4).map((format) => ({
          path: 'attacker1/many',
          format,
          fileName: format,
          include: '^(k|[0-9])+$',
        })),
      }),
  },
  {
    name: 'a value nested 250 deep, as deep as Vault takes it',
    finding: 4,
    async prepare({ put }) {
      await put('deep', { value: JSON.parse(`${'['.repeat(250)}${']'.repeat(250)}`) })
    },
    async run(attacker) {
      await attacker.strike('deep', {
        files: [{ name: 'deep', source: { path: 'attacker1/deep', key: 'value' } }],
        dataFrom: [{ path: 'attacker1/deep', format: 'Dotenv', fileName: 'env' }],
      })
    },
  },
  {
    name: 'a value of 200,000 members with long numbers',
    finding: 4,
    async prepare({ stage }) {
      const { adminAddress, rootToken } = stage.world.bao
      const numbers = Array.from({ length: 80_000 }, () => '1234567890.12345678901234567890')
      // By hand: JavaScript would round them.
      const body = `{"value":[${numbers.join(',')}]}`
      const url = `${adminAddress}/v1/attacker1/numbers`
      const answer = await fetch(url, { method: 'POST', body, headers: { 'X-Vault-Token': rootToken } })
      if (!answer.ok) throw new Error(await answer.text())
    },
    async run(attacker) {
      const importFile = { name: 'numbers', source: { path: 'attacker1/numbers', key: 'value' } }
      await attacker.strike('numbers', { files: [importFile], refreshInterval: '1s' })
      await attacker.dwell(1)
    },
  },
  {
    name: '3 MB that are nearly base64, nearly hex',
    finding: 4,
    async prepare({ put }) {
      await put('encoded', { base64: `${'QUJD'.repeat(700_000)}!`, hex: `${'0f'.repeat(1_400_000)}g` })
    },
    async run(attacker) {
      for (const encoding of ['base64', 'hex']) {
        const source = { path: 'attacker1/encoded', key: encoding }
        await attacker.strike(encoding, { files: [{ name: 'f', source, encoding }] })
      }
    },
  },
  {
    name: 'a secret of 6 MB in KV version 1 and 2',
    finding: 4,
    async prepare({ put, stage }) {
      const large = { value: 'x'.repeat(6_000_000) }
      await put('large', large)
      await stage.world.admin.write('attacker/data/large', { data: large })
    },
    async run(attacker) {
      for (const path of ['attacker1/large', 'attacker/data/large']) {
        await attacker.strike('large', { files: [{ name: 'f', source: { path, key: 'value' } }] })
      }
    },
  },
]

await runAttacks('values', attacks)
