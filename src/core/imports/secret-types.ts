/** Keys that Kubernetes demands of a Secret of such a type. */
const demandedKeys: ReadonlyMap<string, readonly string[]> = new Map([
  ['kubernetes.io/tls', ['tls.crt', 'tls.key']],
  ['kubernetes.io/dockerconfigjson', ['.dockerconfigjson']],
  ['kubernetes.io/dockercfg', ['.dockercfg']],
  ['kubernetes.io/ssh-auth', ['ssh-privatekey']],
])

/** Whoever may write these lets somebody in: the API server itself, or a machine into the cluster. */
const refusedTypes = ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token']

/**
 * What is wrong with the type of a spec.secretSync for the keys it is given; the content is looked at when it is there.
 * @param field such as spec.secretSync[0]
 */
export function secretTypeFaults(type: unknown, keys: readonly unknown[], field: string): string[] {
  if (typeof type !== 'string') return []
  if (refusedTypes.includes(type)) return [`${field}.type: this type is never made from an import`]
  if (type === 'kubernetes.io/basic-auth' && !keys.includes('username') && !keys.includes('password')) {
    return [`${field}.data: type ${type} needs the key username or password`]
  }
  const demanded = demandedKeys.get(type) ?? []
  if (demanded.every((key) => keys.includes(key))) return []
  const noun = demanded.length === 1 ? 'key' : 'keys'
  return [`${field}.data: type ${type} needs the ${noun} ${demanded.join(' and ')}`]
}
