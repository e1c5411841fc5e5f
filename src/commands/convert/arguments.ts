import { nearestName } from '../../core/nearest-name.ts'
import { type System, systems } from './conversion.ts'

export type ConvertArguments = {
  /** undefined: standard input. */
  file: string | undefined
  /** undefined: whatever is recognised. */
  from: System | undefined
}

export type ParsedArguments = { arguments: ConvertArguments } | { help: true } | { faults: string[] }

/** @param argv what stands behind `vault-files-csi convert` */
export function parseConvertArguments(argv: readonly string[]): ParsedArguments {
  const files: string[] = []
  const faults: string[] = []
  let from: System | undefined
  const words = argv[Symbol.iterator]()
  for (const word of words) {
    if (word === '--help' || word === '-h') return { help: true }
    const [flag = '', ...rest] = word.split('=')
    if (flag === '--from') {
      const value: string = rest.length > 0 ? rest.join('=') : (words.next().value ?? '')
      from = systems.find((system) => system === value)
      if (from === undefined)
        faults.push(`--from: must be ${systems.join(', ')}, is ${JSON.stringify(value)}${hint(value)}`)
    } else if (word.startsWith('-') && word !== '-') faults.push(`unknown flag ${JSON.stringify(word)}`)
    else files.push(word)
  }
  if (files.length > 1)
    faults.push(`one FILE at most, these are ${files.length}: join them with cat and pipe them in`)
  if (faults.length > 0) return { faults }
  const [file] = files
  return { arguments: { file: file === '-' ? undefined : file, from } }
}

function hint(value: string): string {
  const meant = nearestName(value, systems)
  return meant === undefined ? '' : `, did you mean ${meant}?`
}
