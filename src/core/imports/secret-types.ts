/** What Kubernetes demands of Secrets of a type, or why none is made from an import. */
type SecretTypeRule =
  | { allOf: readonly string[] }
  | { anyOf: readonly [string, string] }
  /** Continues "type …". */
  | { refused: string }

/** Other types take any keys. */
const secretTypes: ReadonlyMap<unknown, SecretTypeRule> = new Map<string, SecretTypeRule>([
  ['kubernetes.io/tls', { allOf: ['tls.crt', 'tls.key'] }],
  ['kubernetes.io/dockerconfigjson', { allOf: ['.dockerconfigjson'] }],
  ['kubernetes.io/dockercfg', { allOf: ['.dockercfg'] }],
  ['kubernetes.io/ssh-auth', { allOf: ['ssh-privatekey'] }],
  ['kubernetes.io/basic-auth', { anyOf: ['username', 'password'] }],
  // Both are credentials for the API server, which an import's author must not create.
  ['kubernetes.io/service-account-token', { refused: 'is made by Kubernetes alone' }],
  [
    'bootstrap.kubernetes.io/token',
    { refused: 'lets machines join the cluster, and is not made from an import' },
  ],
])

/**
 * Faults of the type of a spec.secretSync for its keys. The content is checked when it is synced.
 * @param field such as spec.secretSync[0]
 */
export function secretTypeFaults(type: unknown, keys: readonly unknown[], field: string): string[] {
  const rule = secretTypes.get(type)
  if (rule === undefined) return []
  if ('refused' in rule) return [`${field}.type: this type is never made from an import`]
  if (lackingKey(rule, keys) === undefined) return []
  const needs = 'anyOf' in rule ? rule.anyOf.join(' or ') : rule.allOf.join(' and ')
  const noun = 'allOf' in rule && rule.allOf.length > 1 ? 'keys' : 'key'
  return [`${field}.data: type ${String(type)} needs the ${noun} ${needs}`]
}

/** The same rules for a Secret that is about to be written. @returns undefined when it has no such fault */
export function secretKeysFault(
  type: string,
  keys: readonly string[],
): { key?: string; reason: string } | undefined {
  const rule = secretTypes.get(type)
  if (rule === undefined) return undefined
  if ('refused' in rule) return { reason: `type ${type} ${rule.refused}` }
  const key = lackingKey(rule, keys)
  if (key === undefined) return undefined
  return 'anyOf' in rule
    ? { reason: `type ${type} needs key "${rule.anyOf[0]}" or "${rule.anyOf[1]}"` }
    : { key, reason: 'this type needs it, spec.secretSync[].data lacks it' }
}

/** The first of the keys that are missing. */
function lackingKey(
  rule: Exclude<SecretTypeRule, { refused: string }>,
  keys: readonly unknown[],
): string | undefined {
  if ('anyOf' in rule) return rule.anyOf.some((key) => keys.includes(key)) ? undefined : rule.anyOf[0]
  return rule.allOf.find((key) => !keys.includes(key))
}
