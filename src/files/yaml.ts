import { readFileSync } from 'node:fs'
import { LineCounter, parseAllDocuments } from 'yaml'
import { kubectlTags } from '../core/imports/kubectl-yaml.ts'

/** One document of a stream, or where and why it cannot be parsed. The fault never quotes the text: it may be a Secret. */
export type YamlDocument = { value: unknown } | { fault: string }

/**
 * Reads YAML or JSON as kubectl does (sigs.k8s.io/yaml): 0644 and 0o644 are octal, yes, no, on, off, y and n are booleans,
 * while 1:30 and 2001-12-14 stay text. Documents without content are left out. A key given twice is a fault.
 */
export function parseYaml(text: string): YamlDocument[] {
  const json = parsedJson(text)
  if (json !== undefined) return [json]
  const lines = new LineCounter()
  const documents = parseAllDocuments(text, {
    version: '1.1',
    customTags: kubectlTags,
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'silent',
  })
  return documents.flatMap((document): YamlDocument[] => {
    const [error] = document.errors
    if (error) {
      const { line, col } = lines.linePos(error.pos[0])
      return [{ fault: `line ${line}, column ${col}: ${error.code.toLowerCase().replaceAll('_', ' ')}` }]
    }
    return document.contents === null ? [] : toValue(document)
  })
}

/** Programs write JSON, which parses in a hundredth of the time; other text that begins with a brace is YAML. */
function parsedJson(text: string): YamlDocument | undefined {
  if (!/^\s{0,64}\{/.test(text)) return undefined
  try {
    return { value: JSON.parse(text) as unknown }
  } catch {
    return undefined
  }
}

/**
 * The single document of a settings file; undefined when it is empty.
 * @throws Error with a message for the cluster admin
 */
export function readYamlFile(path: string): unknown {
  const [first, ...others] = parseYaml(readFileSync(path, 'utf8'))
  if (first === undefined) return undefined
  if ('fault' in first) throw new Error(first.fault)
  if (others.length > 0) throw new Error('holds more than one document')
  return first.value
}

function toValue(document: { toJS(): unknown }): YamlDocument[] {
  try {
    const value = document.toJS()
    return value === null ? [] : [{ value }]
  } catch {
    // Aliases that expand without bound are detected only here.
    return [{ fault: 'too many aliases, or an alias without its anchor' }]
  }
}
