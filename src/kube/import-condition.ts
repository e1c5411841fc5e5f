import { fieldOf } from './failure.ts'

/** Characters of a condition's message, which the CRD holds to 32,768. */
const LONGEST_MESSAGE = 4096

/** What is to be said of one generation of an import; no faults: it is accepted. */
export type Condition = { generation: number; faults: readonly string[] }

/**
 * The import's status with that condition; undefined when it says so already.
 * @param manifest the import with the status that it has
 * @param now milliseconds since the Unix epoch
 */
export function toStatus(manifest: unknown, condition: Condition, now: number): object | undefined {
  const { generation, faults } = condition
  const status = fieldOf(manifest, 'status')
  const list = fieldOf(status, 'conditions')
  const all: unknown[] = Array.isArray(list) ? list : []
  const isOurs = (one: unknown) => fieldOf(one, 'type') === 'Accepted'
  const before = all.find(isOurs)
  const accepted = {
    type: 'Accepted',
    status: faults.length === 0 ? 'True' : 'False',
    observedGeneration: generation,
    reason: faults.length === 0 ? 'Valid' : 'Invalid',
    message: messageOf(faults),
  }
  const isSame = Object.entries(accepted).every(([name, value]) => fieldOf(before, name) === value)
  if (isSame && fieldOf(status, 'observedGeneration') === generation) return undefined
  const isTurn = fieldOf(before, 'status') !== accepted.status
  const since = fieldOf(before, 'lastTransitionTime')
  // Without fractions, as Kubernetes writes times.
  const lastTransitionTime = isTurn ? new Date(now).toISOString().replace(/\.\d+Z$/, 'Z') : since
  // A list is replaced as a whole: the conditions of others go along.
  const conditions = [...all.filter((one) => !isOurs(one)), { ...accepted, lastTransitionTime }]
  return { observedGeneration: generation, conditions }
}

function messageOf(faults: readonly string[]): string {
  const text = faults.join('; ')
  if (text === '') return 'every field is valid'
  return text.length > LONGEST_MESSAGE ? `${text.slice(0, LONGEST_MESSAGE)}…` : text
}
