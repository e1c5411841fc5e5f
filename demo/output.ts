import { styleText } from 'node:util'

/** The demo's standard output: coloured on a terminal, plain in a pipe. */
export type Output = {
  title(text: string): void
  step(text: string): void
  done(text: string): void
  /** Output of a command, indented. */
  show(text: string): void
  fail(text: string): void
}

export function createOutput(out: NodeJS.WriteStream = process.stdout): Output {
  const paint = (format: Parameters<typeof styleText>[0], text: string) =>
    styleText(format, text, { stream: out, validateStream: true })
  const print = (text: string) => void out.write(`${text}\n`)
  return {
    title: (text) => print(`\n${paint('bold', text)}`),
    step: (text) => print(`${paint('cyan', '→')} ${text}`),
    done: (text) => print(`${paint('green', '✓')} ${text}`),
    show: (text) =>
      print(
        text
          .trimEnd()
          .split('\n')
          .map((line) => `    ${paint('gray', line)}`)
          .join('\n'),
      ),
    fail: (text) => print(`${paint('red', '✗')} ${text}`),
  }
}
