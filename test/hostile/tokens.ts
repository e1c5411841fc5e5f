import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PodVolume } from '../harness/kubelet/pod-volume.ts'
import { type Attack, runAttacks } from './harness/attack.ts'
import type { Attacker } from './harness/attacker.ts'
import { JWT_MOUNT } from './harness/victim-messages.ts'
import { ATTACKER, ATTACKER_POLICY } from './harness/world.ts'

// Vault tokens: they must not reach a pod while --allow-token-export is false, and none may be left over.

const TOKEN_IS_OLD_S = 10.5
const valueAt = (path: string, key = 'value') => ({ name: 'file', source: { path, key } })
/** Vault's and OpenBao's own, and a UUID, which accessors are not but secret IDs are. */
const TOKEN = /\b(?:hv[sb]|[sb])\.[A-Za-z0-9_-]{20,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g

/** Publishes the import and looks whether anything in the files opens Vault. */
const smuggle = (name: string, spec: object, prepare?: (attacker: Attacker) => Promise<void>): Attack => ({
  name: `${name}, with --allow-token-export=false`,
  finding: 14,
  ...(prepare ? { prepare } : {}),
  async run(attacker) {
    const { volume, error } = await attacker.strike('smuggle', spec)
    if (error !== undefined) return
    for (const [file, text] of contentOf(volume)) {
      for (const [found] of text.matchAll(TOKEN)) {
        attacker.expect(!(await opensVault(attacker, found)), `${file} holds what opens Vault`)
      }
    }
  },
})

async function opensVault({ stage }: Attacker, found: string): Promise<boolean> {
  const { admin } = stage.world
  const isToken = await admin.write('auth/token/lookup', { token: found }).then(
    () => true,
    () => false,
  )
  const isSecretId = await admin
    .write('auth/approle/role/attacker/secret-id/lookup', { secret_id: found })
    .then(
      (answer) => answer !== undefined,
      () => false,
    )
  return isToken || isSecretId
}

function contentOf(volume: PodVolume): [string, string][] {
  return readdirSync(volume.target, { recursive: true, encoding: 'utf8' }).flatMap((name) => {
    const path = join(volume.target, name)
    return lstatSync(path).isFile() ? [[name, readFileSync(path, 'latin1')] as [string, string]] : []
  })
}

async function appRole({ stage }: Attacker): Promise<void> {
  const { admin } = stage.world
  await admin.write('sys/auth/approle', { type: 'approle' }).catch(() => undefined)
  await admin.write('auth/approle/role/attacker', { token_policies: ATTACKER })
}

const sourceOf = (path: string, method = 'GET', data?: object) => ({
  sources: [{ name: 's', path, method, ...(data ? { data } : {}) }],
})
const everything = { name: 'all', source: { ref: 's' }, template: '{{ s | json }}' }

/** Tokens of the attacker's identities while `act` goes on: never more than `most`. */
async function watchTokens(attacker: Attacker, seconds: number, most: number, what: string): Promise<void> {
  let worst = 0
  for (let round = 0; round < seconds * 2; round++) {
    await attacker.dwell(0.5)
    worst = Math.max(worst, (await attacker.tokens()).length)
  }
  attacker.expect(worst <= most, `${worst} Vault tokens of ${what}, at most ${most}`)
}

async function pki({ stage }: Attacker): Promise<void> {
  const { admin } = stage.world
  await admin.write('sys/mounts/attacker-pki', { type: 'pki' }).catch(() => undefined)
  await admin
    .write('attacker-pki/root/generate/internal', { common_name: 'a root', key_type: 'ec' })
    .catch(() => undefined)
  const role = { allow_any_name: true, key_type: 'ec', key_bits: 256, max_ttl: 3600 }
  await admin.write('attacker-pki/roles/web', role)
  await admin.write('attacker-pki/roles/brief', {
    ...role,
    ttl: '2s',
    max_ttl: '2s',
    not_before_duration: '1s',
  })
}

async function certificates({ stage }: Attacker): Promise<number> {
  const { data } = (await stage.world.admin.read('attacker-pki/certs?list=true')) as {
    data: { keys: string[] }
  }
  return data.keys.length
}

/** Certificates by a role of the auth mount, a volume of three sources; how many are issued in the seconds after. */
const issued = (
  name: string,
  role: object,
  options: { pkiRole?: string; most: number; seconds: number },
): Attack => ({
  name,
  finding: 16,
  async prepare(attacker) {
    await pki(attacker)
    await attacker.stage.world.writeRole('odd', role)
  },
  async run(attacker) {
    const spec = (edit: number) => {
      const sources = [1, 2, 3].map((index) => ({
        name: `s${index}`,
        path: `attacker-pki/issue/${options.pkiRole ?? 'web'}`,
        method: 'PUT',
        data: { common_name: `w${index}-${edit}.example.org` },
        lease: { revokeOnUnmount: true },
      }))
      const files = sources.map((source, index) => ({
        name: `c${index}`,
        source: { ref: source.name, key: 'private_key' },
      }))
      return { role: 'odd', sources, files, refreshInterval: '1s' }
    }
    const before = await certificates(attacker)
    await attacker.strike('issued', spec(0), { timeoutMs: 8_000 })
    await attacker.dwell(options.seconds / 2)
    // What was issued for the names before is given back.
    await attacker.import('issued', spec(1))
    await attacker.dwell(options.seconds / 2)
    const made = (await certificates(attacker)) - before
    attacker.expect(
      made <= options.most,
      `${made} certificates in ${options.seconds} s, at most ${options.most}`,
    )
  },
})

/** A role that makes odd tokens; the volume is refreshed every second. */
const odd = (name: string, role: object, finding = 15): Attack => ({
  name,
  finding,
  async prepare(attacker) {
    await attacker.put('x', { value: 'v' })
    await attacker.stage.world.writeRole('odd', role)
  },
  async run(attacker) {
    await attacker.strike(
      'odd',
      { role: 'odd', files: [valueAt('attacker1/x')], refreshInterval: '1s' },
      { timeoutMs: 6_000 },
    )
    await watchTokens(attacker, 4, 3, 'one identity')
  },
})

const attacks: Attack[] = [
  smuggle('the id of auth/token/lookup-self', { files: [valueAt('auth/token/lookup-self', 'id')] }),
  smuggle('auth/token/lookup-self by dataFrom', {
    dataFrom: [{ path: 'auth/token/lookup-self', format: 'JSON', fileName: 'all' }],
  }),
  smuggle('auth/token/lookup-self by a template', {
    ...sourceOf('auth/token/lookup-self'),
    files: [everything],
  }),
  smuggle('auth//token/./lookup-self with slashes and dots', {
    files: [{ name: 'file', source: { path: '/auth//token///lookup-self/', key: 'id' } }],
  }),
  smuggle('AUTH/Token/Lookup-Self in capitals', { files: [valueAt('AUTH/Token/Lookup-Self', 'id')] }),
  smuggle('v1/auth/token/lookup-self', { files: [valueAt('v1/auth/token/lookup-self', 'id')] }),
  smuggle('auth/token/lookup-self below a Vault namespace', {
    namespace: 'root',
    files: [valueAt('auth/token/lookup-self', 'id')],
  }),
  smuggle('auth/token/lookup and renew-self by PUT', {
    sources: [
      { name: 's', path: 'auth/token/renew-self', method: 'PUT', data: {} },
      { name: 's2', path: 'auth/token/create', method: 'POST', data: { ttl: '1h' } },
    ],
    files: [everything, { name: 'two', source: { ref: 's2' }, template: '{{ s2 | json }}' }],
  }),
  smuggle('a wrapped answer (sys/wrapping/wrap)', {
    ...sourceOf('sys/wrapping/wrap', 'PUT', { a: 'b' }),
    files: [everything],
  }),
  smuggle(
    'a secret ID of an AppRole by a source',
    {
      ...sourceOf('auth/approle/role/attacker/secret-id', 'PUT', {}),
      files: [valueAt('x')].map(() => ({ name: 'id', source: { ref: 's', key: 'secret_id' } })),
    },
    appRole,
  ),
  smuggle(
    'spec.credentials of every kind',
    {
      files: [valueAt('attacker1/x')],
      credentials: ['Token', 'KubernetesVaultToken', 'SecretID'].map((format) => ({ format, name: format })),
    },
    appRole,
  ),
  smuggle('the cubbyhole of the shared token', {
    ...sourceOf('cubbyhole/x', 'PUT', { value: 'mine' }),
    files: [everything],
  }),
  {
    name: 'a policy taken away while the volume looks again every second',
    finding: 15,
    async prepare({ put, stage, later }) {
      await put('x', { value: 'v' })
      later(() => stage.world.admin.write(`sys/policies/acl/${ATTACKER}`, { policy: ATTACKER_POLICY }))
    },
    async run(attacker) {
      const { admin } = attacker.stage.world
      const identities = 10
      await attacker.import('denied', { files: [valueAt('attacker1/x')], refreshInterval: '1s' })
      const pods = Array.from({ length: identities }, (_, pod) =>
        attacker.attempt({ importName: 'denied', serviceAccount: `sa-${pod}` }),
      )
      await Promise.all(pods)
      // A token that is seconds old is not suspected when it is refused.
      await attacker.dwell(TOKEN_IS_OLD_S)
      await admin.write(`sys/policies/acl/${ATTACKER}`, {
        policy: 'path "nothing" { capabilities = ["read"] }',
      })
      await attacker.dwell(6)
      const { length } = await attacker.tokens()
      // One of them may be logging in just now.
      attacker.expect(length <= identities + 1, `${length} Vault tokens of ${identities} identities`)
    },
  },
  {
    name: 'paths that were never allowed, 20 volumes that look again every second',
    finding: 15,
    async run(attacker) {
      await attacker.import('denied', { files: [valueAt('secret/data/victim/app')], refreshInterval: '1s' })
      await Promise.all(Array.from({ length: 20 }, () => attacker.attempt({ importName: 'denied' })))
      await watchTokens(attacker, 2, 3, 'one identity')
    },
  },
  {
    name: 'a token revoked from outside again and again',
    finding: 15,
    async prepare({ put }) {
      await put('x', { value: 'v' })
    },
    async run(attacker) {
      const { world } = attacker.stage
      await attacker.strike('revoked', { files: [valueAt('attacker1/x')], refreshInterval: '1s' })
      for (let round = 0; round < 8; round++) {
        const accessors = await attacker.tokens()
        attacker.expect(accessors.length <= 3, `${accessors.length} Vault tokens of one identity`)
        await Promise.all(
          accessors.map((accessor) =>
            world.admin.write('auth/token/revoke-accessor', { accessor }).catch(() => undefined),
          ),
        )
        await attacker.dwell(0.5)
      }
    },
  },
  odd('tokens that may be used once', { token_num_uses: 1 }),
  odd('tokens that live for one second', { token_ttl: 1, token_max_ttl: 1 }),
  odd('tokens that may be renewed for ever, every two seconds', { token_period: 2 }),
  odd('batch tokens, which nobody can revoke', { token_type: 'batch', token_ttl: 5 }),
  odd('tokens bound to another address', { token_bound_cidrs: ['10.99.99.99/32'] }),
  {
    ...odd('tokens without the default policy', { token_no_default_policy: true }),
    keepsTokens: true,
  },
  {
    ...issued(
      'certificates by a role whose tokens may not revoke themselves',
      { token_no_default_policy: true },
      { most: 6, seconds: 8 },
    ),
    keepsTokens: true,
  },
  issued('certificates by tokens of three uses', { token_num_uses: 3 }, { most: 12, seconds: 5 }),
  issued('certificates that live for two seconds', {}, { pkiRole: 'brief', most: 24, seconds: 5 }),
  {
    name: 'the auth mount taken away while 10 volumes stand',
    finding: 15,
    async prepare({ put, stage, later }) {
      const { admin, issuer } = stage.world
      await put('x', { value: 'v' })
      await admin.write('sys/auth/gone', { type: 'jwt' })
      await admin.write('auth/gone/config', {
        jwt_validation_pubkeys: [issuer.publicKeyPem],
        bound_issuer: issuer.issuer,
      })
      const { data } = (await admin.read(`auth/${JWT_MOUNT}/role/${ATTACKER}`)) as { data: object }
      await admin.write(`auth/gone/role/${ATTACKER}`, data)
      later(() => admin.delete('sys/auth/gone').catch(() => undefined))
    },
    async run(attacker) {
      await attacker.import('gone', {
        authPath: 'gone',
        files: [valueAt('attacker1/x')],
        refreshInterval: '1s',
      })
      await Promise.all(
        Array.from({ length: 10 }, (_, pod) =>
          attacker.attempt({ importName: 'gone', serviceAccount: `sa-${pod}` }),
        ),
      )
      await attacker.stage.world.admin.delete('sys/auth/gone')
      await attacker.dwell(3)
    },
  },
]

await runAttacks('tokens', attacks)
