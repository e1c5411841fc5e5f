/** Bytes per suffix of a Kubernetes quantity; only the suffixes that make sense for a size. */
const suffixBytes: Readonly<Record<string, number>> = {
  '': 1,
  k: 1000,
  M: 1000 ** 2,
  G: 1000 ** 3,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
}

/**
 * Parses a size as Kubernetes writes it: `4Mi`, `512Ki`, `1.5Gi`, `100k`, or plain bytes.
 * @returns whole bytes, rounded up as Kubernetes does, or undefined when the text is not a size
 */
export function parseSize(text: string): number | undefined {
  const [, amount = '', suffix = ''] = /^(\d+(?:\.\d+)?)(k|M|G|Ki|Mi|Gi)?$/.exec(text) ?? []
  if (amount === '') return undefined
  const bytes = Math.ceil(Number(amount) * (suffixBytes[suffix] ?? 1))
  return Number.isSafeInteger(bytes) ? bytes : undefined
}
