const WIDTH = 108

/** Something that the other system did and this one does not. */
export function noCounterpart(what: string, next: string): string {
  return `no counterpart: ${what}. Next step: ${next}.`
}

/** Something for the reader to check or decide. */
export function toDo(what: string): string {
  return `to do: ${what}.`
}

/** A change that the application sees. */
export function changed(what: string): string {
  return `changed: ${what}.`
}

/** A comment as the yaml package takes it: the first line of each note is wrapped, further lines are not. */
export function commentText(notes: readonly string[]): string {
  return notes
    .flatMap((note) => {
      const [firstLine = '', ...original] = note.split('\n')
      return [...wrap(firstLine), ...original.map((line) => `   ${line}`)]
    })
    .map((line) => ` ${line.trimEnd()}`)
    .join('\n')
}

/** A note that quotes a text of the input. */
export function withOriginal(note: string, original: string): string {
  return `${note}\n${original.replace(/\n+$/, '')}`
}

function wrap(text: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    const isFull = line !== '' && line.length + 1 + word.length > WIDTH
    if (isFull) lines.push(line)
    line = line === '' || isFull ? `${isFull ? '  ' : ''}${word}` : `${line} ${word}`
  }
  return [...lines, line]
}
