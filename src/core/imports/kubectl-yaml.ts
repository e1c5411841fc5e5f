import type { ScalarTag, Tags } from 'yaml'

/**
 * Custom tags for the yaml package, with version 1.1, that read scalars as kubectl (sigs.k8s.io/yaml) does: YAML 1.1
 * without sexagesimal numbers and timestamps, which Go reads as text, and with 0o644.
 */
export function kubectlTags(tags: Tags): Tags {
  return [octalWithLetter, ...tags.filter((tag) => !isTime(tag))]
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
