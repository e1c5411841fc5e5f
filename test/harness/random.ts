/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A text that is all traps: quotes, escapes, blanks, line ends, expansions, letters of every length. */
export function trickyText(random: () => number): string {
  const length = Math.floor(random() * 12)
  return Array.from({ length }, () => traps[Math.floor(random() * traps.length)] ?? '').join('')
}

const traps = [
  ...'abc019 \t\n\r\f\v\'"`$\\#!=:;&|<>(){}[]*?~^%@,.-_/+',
  `\${HOME}`,
  '$HOME',
  '$(id)',
  '\\n',
  '\\"',
  "\\'",
  '\\\\',
  ' #',
  '\n#',
  '\nKEY=x',
  'é',
  'ß',
  '漢',
  '😀',
  '\u00a0',
  '\u2028',
  '\u0085',
  '\u0001',
  '\u007f',
]
