import type { PodVolume } from '../kubelet/pod-volume.ts'
import { type Postgres, startPostgres } from '../vault/postgres.ts'
import { setUpDatabase } from '../vault/vault-engines.ts'
import { type RealNode, startRealNode } from './real-node.ts'

/** A node whose Vault makes users of a real PostgreSQL. */
export type DatabaseNode = RealNode & {
  postgres: Postgres
  /** A role of the database engine, seconds. */
  writeDatabaseRole(name: string, life: { ttl: number; maxTtl: number }): Promise<void>
  /** Leases of `database/creds/<role>` that Vault knows. */
  leases(role: string): Promise<string[]>
  /** Users that Vault has made and not dropped. */
  users(): Promise<string[]>
}

/** The login `db` may ask for credentials of every role. */
export async function startDatabaseNode(t: {
  teardown(task: () => Promise<void>): void
}): Promise<DatabaseNode> {
  const postgres = await startPostgres()
  t.teardown(() => postgres.close())
  const node = await startRealNode(t)
  const { admin } = node.vault
  await setUpDatabase(admin, postgres, { ttl: 3, maxTtl: 3600 })
  const policy =
    'path "database/creds/*" { capabilities = ["read"] }\npath "secret/data/*" { capabilities = ["read"] }'
  await admin.write('sys/policies/acl/db', { policy })
  await node.vault.writeRole('db', { token_policies: 'db' })
  const role = (await admin.read('database/roles/app')) as { data: object }
  return {
    ...node,
    postgres,
    async writeDatabaseRole(name, { ttl, maxTtl }) {
      await admin.write(`database/roles/${name}`, { ...role.data, default_ttl: ttl, max_ttl: maxTtl })
    },
    async leases(name) {
      const path = `sys/leases/lookup/database/creds/${name}?list=true`
      const answer = await admin.read(path).catch((error: Error) => {
        if (/ 404 /.test(error.message)) return { data: { keys: [] } }
        throw error
      })
      return (answer as { data: { keys: string[] } }).data.keys
    },
    async users() {
      const rows = await postgres.sql(`SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%' ORDER BY 1`)
      return rows === '' ? [] : rows.split('\n')
    },
  }
}

/** An import with user and password as files, and both in one. */
export function databaseImport(
  database: string,
  { name = 'db', ...more }: { name?: string } = {},
  role = 'db',
): object {
  return {
    role,
    sources: [{ name, path: `database/creds/${database}`, lease: {}, ...more }],
    files: [
      { name: 'user', source: { ref: name, key: 'username' } },
      { name: 'password', source: { ref: name, key: 'password' } },
      { name: 'login', source: { ref: name }, template: '{{ username }} {{ password }}' },
    ],
  }
}

export type Prober = {
  /** Logins that were refused with what the files held at that moment. */
  refused: string[]
  logins: number
  /** Users seen, oldest first. */
  seen: string[]
  stop(): Promise<void>
}

/** An application that keeps reconnecting with the credentials in its file. */
export function startProber(postgres: Postgres, volume: PodVolume): Prober {
  let isStopped = false
  const prober: Prober = {
    refused: [],
    logins: 0,
    seen: [],
    async stop() {
      isStopped = true
      await running
    },
  }
  async function run(): Promise<void> {
    while (!isStopped) {
      const [user = '', password = ''] = volume.read('login').split(' ')
      if (prober.seen.at(-1) !== user) prober.seen.push(user)
      if (await postgres.canLogIn(user, password)) prober.logins += 1
      else prober.refused.push(user)
    }
  }
  const running = run()
  return prober
}
