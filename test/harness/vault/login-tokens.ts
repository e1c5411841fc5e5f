import type { VaultAdmin } from './vault-admin.ts'

/** Accessors of the tokens of logins that are not revoked. */
export async function loginTokens(admin: VaultAdmin): Promise<string[]> {
  const { data } = (await admin.read('auth/token/accessors?list=true')) as { data: { keys: string[] } }
  const looked = await Promise.all(data.keys.map((accessor) => isOfLogin(admin, accessor)))
  return data.keys.filter((_accessor, index) => looked[index])
}

/** One that was revoked since it was listed is none. */
async function isOfLogin(admin: VaultAdmin, accessor: string): Promise<boolean> {
  const answer = await admin.write('auth/token/lookup-accessor', { accessor }).catch(() => undefined)
  return (answer as { data: { path: string } } | undefined)?.data.path.endsWith('/login') ?? false
}
