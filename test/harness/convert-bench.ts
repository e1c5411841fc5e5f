import { convert } from '../../src/commands/convert/convert.ts'

/** What `vault-files-csi convert` makes of a text on standard input. */
export function convertText(
  text: string,
  ...argv: readonly string[]
): { code: number; output: string; told: string } {
  let output = ''
  let told = ''
  const code = convert({
    argv,
    read: () => text,
    write: (written) => {
      output += written
    },
    writeError: (complaint) => {
      told += complaint
    },
  })
  return { code, output, told }
}
