/** What a metrics page says, summed up. */
export type Samples = {
  /** Sum of all series of this name, without `vault_files_`, whose labels hold all of `labels`; 0 where there is none. */
  sum(name: string, labels?: Readonly<Record<string, string>>): number
  text: string
}

/** Reads the text format of Prometheus as far as our own page needs it: no label value holds a quote or a brace. */
export function parseSamples(text: string): Samples {
  const series = text.split('\n').flatMap((line) => {
    const [, name = '', labels = '', value = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    return name === '' ? [] : [{ name, labels: parseLabels(labels), value: Number(value) }]
  })
  return {
    text,
    sum(name, wanted = {}) {
      const names = [name, `vault_files_${name}`]
      return series
        .filter((one) => names.includes(one.name))
        .filter(({ labels }) => Object.entries(wanted).every(([label, value]) => labels.get(label) === value))
        .reduce((total, { value }) => total + value, 0)
    },
  }
}

function parseLabels(text: string): Map<string, string> {
  return new Map([...text.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, value]))
}
