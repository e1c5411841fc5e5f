import { type Attack, runAttacks } from './harness/attack.ts'
import type { Attacker } from './harness/attacker.ts'

// Whatever Vault says was put into its mouth: most of its errors and warnings quote what they were asked.

const hash = (data: object) => ({
  sources: [{ name: 'echo', path: 'sys/tools/hash', method: 'POST', data: { input: 'aGk=', ...data } }],
  files: [{ name: 'sum', source: { ref: 'echo', key: 'sum' } }],
})
const fileFrom = (path: string, key = 'value') => ({ files: [{ name: 'file', source: { path, key } }] })
const refuses = async (attacker: Attacker, spec: object) => {
  await attacker.strike('echo', spec)
}

/** What an echo is made of: each fits another pattern that looks for secrets. */
const texts: Readonly<Record<string, string>> = {
  '60,000 digits': '1'.repeat(60_000),
  '120,000 characters of eyJ-': 'eyJ-'.repeat(30_000),
  '120,000 characters of eyJa.eyJb': 'eyJaaaa.eyJbbbb'.repeat(8_000),
  '120,000 characters of hvs.': 'hvs.'.repeat(30_000),
  '120,000 characters of s.s.': 's.'.repeat(60_000),
  '120,000 spaces': `a${' '.repeat(120_000)}b`,
  '100,000 characters of "1 error occurred"': '1 error occurred:\n\t'.repeat(5_500),
  '100,000 line ends': '1\n'.repeat(50_000),
  '120,000 times one letter': 'a'.repeat(120_000),
  '120,000 characters of base64': 'QUJD'.repeat(30_000),
  '120,000 characters of a UUID without end': '0f'.repeat(60_000),
  '120,000 characters of PEM beginnings': '-----BEGIN A-----'.repeat(7_000),
  '120,000 characters of https://': 'https://a:'.repeat(12_000),
  '900,000 digits': '1'.repeat(900_000),
}

const attacks: Attack[] = [
  ...Object.entries(texts).map(
    ([name, text]): Attack => ({
      name: `sys/tools/hash echoes ${name}`,
      finding: 3,
      run: (attacker) => refuses(attacker, hash({ format: text })),
    }),
  ),
  {
    name: 'the name of an algorithm echoed, 120,000 digits and dots',
    finding: 3,
    run: (attacker) => refuses(attacker, hash({ algorithm: '1.'.repeat(60_000) })),
  },
  {
    name: 'a role of 60,000 digits echoed by the login, before any token',
    finding: 3,
    run: (attacker) => refuses(attacker, { role: '1'.repeat(60_000), ...fileFrom('attacker1/x') }),
  },
  {
    name: 'an auth mount of 60,000 characters of eyJ-',
    finding: 3,
    run: (attacker) => refuses(attacker, { authPath: 'eyJ-'.repeat(15_000), ...fileFrom('attacker1/x') }),
  },
  {
    name: 'a path of 60,000 digits, quoted by Vault and by the plugin',
    finding: 3,
    run: (attacker) => refuses(attacker, fileFrom(`attacker1/${'1'.repeat(60_000)}`)),
  },
  {
    name: 'a path of 30,000 segments',
    finding: 3,
    run: (attacker) => refuses(attacker, fileFrom(`attacker/${'data/'.repeat(12_000)}x`)),
  },
  {
    name: 'a Vault namespace of 60,000 digits',
    finding: 3,
    run: (attacker) => refuses(attacker, { namespace: '1'.repeat(60_000), ...fileFrom('attacker1/x') }),
  },
  {
    name: 'warnings that repeat 3,000 unknown parameters',
    finding: 3,
    run: (attacker) => {
      const strange = Array.from({ length: 3_000 }, (_, index) => [`${'eyJ-'.repeat(10)}${index}`, '1'])
      return refuses(attacker, hash({ format: 'none', ...Object.fromEntries(strange) }))
    },
  },
  {
    name: 'a missing key beside 400 keys with names of 100 characters',
    finding: 3,
    prepare: async ({ put }) => {
      const keys = Array.from({ length: 400 }, (_, index) => [`${'k1'.repeat(47)}-${index}`, 'v'])
      await put('many', Object.fromEntries(keys))
    },
    run: (attacker) => refuses(attacker, fileFrom('attacker1/many', 'k1'.repeat(50))),
  },
]

await runAttacks('words', attacks)
