/** The member at a path of plain data; undefined where there is none. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>(
    (member, step) => (typeof member === 'object' && member !== null ? Reflect.get(member, step) : undefined),
    value,
  )
}

/** A text at a path; undefined where there is none, or something else. */
export function textAt(value: unknown, ...path: readonly (string | number)[]): string | undefined {
  const member = at(value, ...path)
  return typeof member === 'string' ? member : undefined
}

/** A list at a path; empty where there is none. */
export function listAt(value: unknown, ...path: readonly (string | number)[]): readonly unknown[] {
  const member = at(value, ...path)
  return Array.isArray(member) ? member : []
}

/** Texts by name, numbers and booleans as their text, such as annotations and parameters. */
export function textsAt(value: unknown, ...path: readonly (string | number)[]): Map<string, string> {
  const member = at(value, ...path)
  if (typeof member !== 'object' || member === null || Array.isArray(member)) return new Map()
  const entries = Object.entries(member).filter(([, text]) =>
    ['string', 'number', 'boolean'].includes(typeof text),
  )
  return new Map(entries.map(([name, text]) => [name, String(text)]))
}

/** What Go's ParseBool and its like take for true. */
export function isTrue(text: string | undefined): boolean {
  return /^(1|t|true|yes|y|on)$/i.test(text?.trim() ?? '')
}
