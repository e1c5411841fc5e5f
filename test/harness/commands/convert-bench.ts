import { convert } from '../../../src/commands/convert/convert.ts'

/** Runs `vault-files-csi convert` with a text on standard input. */
export function convertText(
  input: string,
  ...argv: readonly string[]
): { code: number; output: string; errors: string } {
  let output = ''
  let errors = ''
  const code = convert({
    argv,
    read: () => input,
    write: (written) => {
      output += written
    },
    writeError: (text) => {
      errors += text
    },
  })
  return { code, output, errors }
}
