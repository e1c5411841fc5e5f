const WIDTH = 108

/** Something that another system did and ours does not. */
export function noCounterpart(what: string, next: string): string {
  return `no counterpart: ${what}. Next step: ${next}.`
}

/** Something that only a human can decide or see to. */
export function toDo(what: string): string {
  return `to do: ${what}.`
}

/** Something that is otherwise than it was. */
export function changed(what: string): string {
  return `changed: ${what}.`
}

/** A comment as the yaml package takes it: words wrapped, whatever follows an empty line as it is. */
export function commentText(notes: readonly string[]): string {
  return notes
    .flatMap((note) => {
      const [words = '', ...original] = note.split('\n')
      return [...wrap(words), ...original.map((line) => `   ${line}`)]
    })
    .map((line) => ` ${line.trimEnd()}`)
    .join('\n')
}

/** A note that shows a text of the input as it stood there. */
export function withOriginal(note: string, original: string): string {
  return `${note}\n${original.replace(/\n+$/, '')}`
}

function wrap(words: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of words.split(/\s+/)) {
    const isFull = line !== '' && line.length + 1 + word.length > WIDTH
    if (isFull) lines.push(line)
    line = line === '' || isFull ? `${isFull ? '  ' : ''}${word}` : `${line} ${word}`
  }
  return [...lines, line]
}
