/** The right to set a Vault up: for demo, tests and bench only. */
export type VaultAdmin = {
  /** @returns the parsed answer, undefined for an empty one. @throws Error with Vault's words */
  write(path: string, data?: object): Promise<unknown>
  read(path: string): Promise<unknown>
  delete(path: string): Promise<void>
  enableKv2(mount: string): Promise<void>
  enableKv1(mount: string): Promise<void>
  /** Enables an auth method of type jwt that trusts `issuerKey`. */
  setUpJwt(options: { mount: string; issuerKey: { publicKeyPem: string; issuer: string } }): Promise<void>
  /** A role of such a mount for one service account. */
  writeJwtRole(mount: string, role: string, options: JwtRole): Promise<void>
  /** A policy that grants `read` on exactly these paths. */
  writeReadPolicy(name: string, paths: readonly string[]): Promise<void>
}

export type JwtRole = {
  namespace: string
  serviceAccount: string
  audience: string
  policies: readonly string[]
  /** Seconds. */
  ttl?: number
  /** Seconds. */
  maxTtl?: number
  /** Anything else that the API knows. */
  more?: object
}

/** @param options.token a token that may do all this: the root token of a throw-away server */
export function createVaultAdmin(options: {
  address: string
  token: string
  namespace?: string
}): VaultAdmin {
  const call = async (method: string, path: string, data?: object) => {
    const response = await fetch(`${options.address}/v1/${path}`, {
      method,
      headers: {
        'X-Vault-Token': options.token,
        ...(options.namespace ? { 'X-Vault-Namespace': options.namespace } : {}),
      },
      ...(data ? { body: JSON.stringify(data) } : {}),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text === '' ? undefined : (JSON.parse(text) as unknown)
  }
  const write = (path: string, data: object = {}) => call('POST', path, data)

  return {
    write,
    read: (path) => call('GET', path),
    delete: async (path) => {
      await call('DELETE', path)
    },
    enableKv2: async (mount) => {
      await write(`sys/mounts/${mount}`, { type: 'kv', options: { version: '2' } })
      await untilUpgraded(() => call('GET', `${mount}/config`))
    },
    enableKv1: async (mount) => {
      await write(`sys/mounts/${mount}`, { type: 'kv', options: { version: '1' } })
    },
    setUpJwt: async ({ mount, issuerKey }) => {
      await write(`sys/auth/${mount}`, { type: 'jwt' })
      await write(`auth/${mount}/config`, {
        jwt_validation_pubkeys: [issuerKey.publicKeyPem],
        bound_issuer: issuerKey.issuer,
      })
    },
    writeJwtRole: async (mount, role, wanted) => {
      await write(`auth/${mount}/role/${role}`, {
        role_type: 'jwt',
        user_claim: 'sub',
        bound_subject: `system:serviceaccount:${wanted.namespace}:${wanted.serviceAccount}`,
        bound_audiences: [wanted.audience],
        token_policies: wanted.policies,
        token_ttl: wanted.ttl ?? 600,
        token_max_ttl: wanted.maxTtl ?? 0,
        ...wanted.more,
      })
    },
    writeReadPolicy: async (name, paths) => {
      const policy = paths.map((path) => `path "${path}" { capabilities = ["read"] }`).join('\n')
      await write(`sys/policies/acl/${name}`, { policy })
    },
  }
}

/** A new KV v2 mount refuses requests for a moment while it sets itself up. */
async function untilUpgraded(read: () => Promise<unknown>): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const ready = await read().then(
      () => true,
      () => false,
    )
    if (ready) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('the KV v2 mount did not get ready')
}
