import type * as z from 'zod'
import { nearestName } from '../nearest-name.ts'
import { fieldsOf, show } from './schema.ts'

type Issue = z.core.$ZodIssue

/** Reported faults of one import, and characters of each: more would be unread and cost other tenants. */
const MAX_FAULTS = 50
const MAX_FAULT_LENGTH = 500
/** Characters of an unknown name. */
const MAX_NAME_LENGTH = 64

/** The first faults, each cut to its maximum length. */
export function limitFaults(faults: readonly string[]): string[] {
  const reported = faults.slice(0, MAX_FAULTS).map((fault) => cut(fault, MAX_FAULT_LENGTH))
  const more = faults.length - reported.length
  return more > 0
    ? [...reported, `the manifest has more faults, of which these are the first ${MAX_FAULTS}`]
    : reported
}

/**
 * Describes zod's issues, each starting with the field: `spec.files[2].name: required`.
 * @param manifest the validated value, which the issues do not contain
 */
export function describeIssues(issues: readonly Issue[], manifest: unknown): string[] {
  // One more than is reported, so that limitFaults sees that there are more.
  return issues.slice(0, MAX_FAULTS + 1).flatMap((issue) => {
    const field = formatPath(issue.path)
    if (issue.code === 'unrecognized_keys')
      return issue.keys.slice(0, MAX_FAULTS + 1).map((key) => describeUnknown(field, key))
    const text = describe(issue, valueAt(manifest, issue.path))
    return [field === '' ? `the manifest ${text}` : `${field}: ${text}`]
  })
}

function describe(issue: Issue, value: unknown): string {
  if (value === undefined && issue.code !== 'custom') return `required${wanted(issue)}`
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${wantedType(issue.expected)}, is ${article(typeName(value))}${quotingHint(issue.expected, value)}`
    case 'invalid_value':
      return `must be ${issue.values.map(show).join(' or ')}, is ${show(value)}`
    case 'invalid_format':
      return `must match ${issue.pattern?.slice(1, -1)}, is ${show(value)}`
    case 'too_small':
      return issue.origin === 'number' || issue.origin === 'int'
        ? `must be ${issue.minimum} or more, is ${show(value)}`
        : 'must not be empty'
    case 'too_big':
      return issue.origin === 'number' || issue.origin === 'int'
        ? `must be ${issue.maximum} or less, is ${show(value)}`
        : `must have at most ${issue.maximum} ${issue.origin === 'string' ? 'characters' : 'items'}`
    default:
      return issue.message
  }
}

function wantedType(expected: string): string {
  return expected === 'int' ? 'a whole number' : article(expected)
}

function wanted(issue: Issue): string {
  return issue.code === 'invalid_value' ? `, must be ${issue.values.map(show).join(' or ')}` : ''
}

function describeUnknown(object: string, key: string): string {
  const name = cut(key, MAX_NAME_LENGTH)
  const field = object === '' ? name : `${object}.${name}`
  const known = fieldsOf(object.replaceAll(/\[\d{1,9}\]/g, '[]'))
  const nearest = nearestName(key, known)
  return `${field}: unknown field${nearest ? `, did you mean ${nearest}?` : ''} (known: ${known.join(', ')})`
}

/** YAML 1.1, which kubectl reads, parses 0123 as a number and yes, no, on, off, y, n as booleans. */
function quotingHint(expected: string, value: unknown): string {
  const isPlain = typeof value === 'number' || typeof value === 'boolean'
  return expected === 'string' && isPlain ? ` (${value}); put it in quotes` : ''
}

function typeName(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

function article(type: string): string {
  if (type === 'null') return type
  const word = type === 'array' ? 'list' : type
  return /^[aeiou]/.test(word) ? `an ${word}` : `a ${word}`
}

export function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((step, index) =>
      typeof step === 'number' ? `[${step}]` : `${index === 0 ? '' : '.'}${String(step)}`,
    )
    .join('')
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, step) => (value !== null && typeof value === 'object' ? Reflect.get(value, step) : undefined),
    root,
  )
}

function cut(text: string, longest: number): string {
  return (text.length > longest ? `${text.slice(0, longest - 1)}…` : text).toWellFormed()
}
