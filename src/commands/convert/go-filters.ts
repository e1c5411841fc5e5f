import type { Word } from './go-tokens.ts'

/** Functions of consul-template and Sprig, and the Liquid filters with the same results. */
const FILTERS: ReadonlyMap<string, string> = new Map([
  ['base64Decode', 'base64_decode'],
  ['b64dec', 'base64_decode'],
  ['base64Encode', 'base64_encode'],
  ['b64enc', 'base64_encode'],
  ['toJSON', 'json'],
  ['toJson', 'json'],
  ['toJSONPretty', 'json: 2'],
  ['toUpper', 'upcase'],
  ['upper', 'upcase'],
  ['toLower', 'downcase'],
  ['lower', 'downcase'],
  ['trimSpace', 'strip'],
  ['trim', 'strip'],
])

/** The Liquid filter for one stage of a pipeline; undefined when there is none. */
export function filterOf([name, ...args]: readonly Word[]): string | undefined {
  if (name?.kind !== 'name') return undefined
  if (args.length === 0) return FILTERS.get(name.value)
  const [from, to] = args.map((arg) =>
    arg.kind === 'string' && !/["\n]/.test(arg.value) ? `"${arg.value}"` : undefined,
  )
  return name.value === 'replaceAll' && from && to && args.length === 2
    ? `replace: ${from}, ${to}`
    : undefined
}
