import type { ScalarTag, Tags } from 'yaml'

/**
 * Custom tags for the yaml package, with version 1.1: scalars as kubectl (sigs.k8s.io/yaml) reads them. That is YAML 1.1
 * less sexagesimal numbers and timestamps, which Go's reader leaves as text, and with 0o644 too.
 */
export function kubectlTags(tags: Tags): Tags {
  const kept = tags.filter((tag) => !isTime(tag))
  return [octalWithLetter, ...kept]
}

function isTime(tag: Tags[number]): boolean {
  return typeof tag !== 'string' && (tag.format === 'TIME' || tag.tag === 'tag:yaml.org,2002:timestamp')
}

const octalWithLetter: ScalarTag = {
  default: true,
  tag: 'tag:yaml.org,2002:int',
  format: 'OCT_LETTER',
  test: /^[-+]?0[oO][0-7_]+$/,
  resolve: (text) => Number.parseInt(text.replaceAll(/[_oO]/g, ''), 8),
}
