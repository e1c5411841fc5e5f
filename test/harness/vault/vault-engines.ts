import type { Postgres } from './postgres.ts'
import type { VaultAdmin } from './vault-admin.ts'

/**
 * The database engine at `database` with the role `app`, whose users PostgreSQL knows until their lease ends:
 * `database/creds/app`. Written again it takes the new times.
 * @param options.ttl and maxTtl in seconds
 */
export async function setUpDatabase(
  admin: VaultAdmin,
  postgres: Postgres,
  options: { ttl: number; maxTtl: number },
): Promise<void> {
  const { data } = (await admin.read('sys/mounts')) as { data: Record<string, unknown> }
  if (data['database/'] === undefined) {
    await admin.write('sys/mounts/database', { type: 'database' })
    await admin.write('database/config/pg', {
      plugin_name: 'postgresql-database-plugin',
      allowed_roles: '*',
      connection_url: `postgresql://{{username}}:{{password}}@127.0.0.1:${postgres.port}/postgres?sslmode=disable`,
      username: postgres.user,
      password: postgres.password,
    })
  }
  await admin.write('database/roles/app', {
    db_name: 'pg',
    creation_statements: [
      `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`,
    ],
    default_ttl: options.ttl,
    max_ttl: options.maxTtl,
  })
}

/** A PKI engine at `pki` with a root of its own and the role `web` for names under example.org: `pki/issue/web`. */
export async function setUpPki(admin: VaultAdmin): Promise<void> {
  await admin.write('sys/mounts/pki', { type: 'pki' })
  await admin.write('pki/root/generate/internal', { common_name: 'a test root', key_type: 'ec' })
  await admin.write('pki/roles/web', {
    allowed_domains: 'example.org',
    allow_subdomains: true,
    key_type: 'ec',
    key_bits: 256,
    max_ttl: 3600,
  })
}

/** What an application of the AppRole `app` needs to log in. */
export type AppRole = { roleId: string; newSecretId(): Promise<string> }

/** The auth method `approle` with the role `app`; `more` may change anything of it. */
export async function setUpAppRole(admin: VaultAdmin, more: object = {}): Promise<AppRole> {
  const { data: mounts } = (await admin.read('sys/auth')) as { data: Record<string, unknown> }
  if (mounts['approle/'] === undefined) await admin.write('sys/auth/approle', { type: 'approle' })
  const role = 'auth/approle/role/app'
  await admin.write(role, { token_policies: 'app', token_ttl: 600, ...more })
  const { data } = (await admin.read(`${role}/role-id`)) as { data: { role_id: string } }
  return {
    roleId: data.role_id,
    newSecretId: async () => {
      const made = (await admin.write(`${role}/secret-id`)) as { data: { secret_id: string } }
      return made.data.secret_id
    },
  }
}
