import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { PodVolume } from '../harness/kubelet/pod-volume.ts'
import { databaseImport, startDatabaseNode, startProber } from '../harness/plugin/database-node.ts'
import { until } from '../harness/until.ts'
import { postgresMissing } from '../harness/vault/postgres.ts'
import { attributesRefused } from '../harness/volume/tmpfs.ts'

const missing = postgresMissing()

t.test('dynamic database credentials on a real PostgreSQL', missing ? { skip: missing } : {}, async (t) => {
  const node = await startDatabaseNode(t)
  const { postgres } = node
  await node.writeDatabaseRole('ends', { ttl: 4, maxTtl: 9 })
  await node.writeDatabaseRole('long', { ttl: 3600, maxTtl: 7200 })
  await node.writeImport('renewed', databaseImport('app'))
  await node.writeImport('ends', databaseImport('ends'))
  const logsIn = (volume: PodVolume) => postgres.canLogIn(volume.read('user'), volume.read('password'))

  await t.test('user and password are of one issue and let the application in', async (t) => {
    const volume = await node.publish({ importName: 'renewed' })
    t.equal(volume.read('login'), `${volume.read('user')} ${volume.read('password')}`)
    t.ok(await logsIn(volume))

    await t.test(
      'they are renewed for as long as the pod lives, more than twice their lease here',
      async (t) => {
        const user = volume.read('user')
        await sleep(7_000)
        t.equal(volume.read('user'), user)
        t.ok(await logsIn(volume))
        t.equal((await node.leases('app')).length, 1)
      },
    )

    await t.test('a Vault admin revokes the lease: the next renewal brings a new pair', async (t) => {
      const user = volume.read('user')
      await node.vault.admin.write('sys/leases/revoke-prefix/database/creds/app')
      await until('another user', () => volume.read('user') !== user)
      t.ok(await logsIn(volume))
    })

    await t.test('unmounted, PostgreSQL knows the user no more', async (t) => {
      const [user, password] = [volume.read('user'), volume.read('password')]
      await node.unpublish(volume)
      await until('the user to be dropped', async () => !(await postgres.canLogIn(user, password)))
      t.same(await node.leases('app'), [])
    })
  })

  await t.test(
    'at the end of what can be renewed the pair changes as one, and no login is refused meanwhile',
    async (t) => {
      const volume = await node.publish({ importName: 'ends' })
      const prober = startProber(postgres, volume)
      await until('three pairs', () => prober.seen.length >= 3, { timeoutMs: 40_000, everyMs: 50 })
      await prober.stop()
      t.same(prober.refused, [])
      t.ok(prober.logins > 50, `${prober.logins} logins with ${prober.seen.length} pairs`)
      await node.unpublish(volume)
    },
  )

  for (const [what, role] of [
    ['a token that ends before the lease', { token_ttl: 4, token_max_ttl: 9 }],
    ['batch tokens, which cannot be renewed', { token_ttl: 6, token_type: 'batch' }],
  ] as const) {
    await t.test(`${what}: new credentials are in the files before the old ones end`, async (t) => {
      const name = `role-${role.token_ttl}`
      await node.vault.writeRole(name, { token_policies: 'db', ...role })
      await node.writeImport(name, databaseImport('long', {}, name))
      const volume = await node.publish({ importName: name })
      const prober = startProber(postgres, volume)
      await until('three pairs', () => prober.seen.length >= 3, { timeoutMs: 40_000, everyMs: 50 })
      await prober.stop()
      t.same(prober.refused, [])
      await node.unpublish(volume)
    })
  }

  await t.test(
    'a plain path that leases, in two files, is one issue for the pod and not read again',
    async (t) => {
      const path = 'database/creds/long'
      await node.writeImport('plain', {
        role: 'db',
        files: [
          { name: 'user', source: { path, key: 'username' } },
          { name: 'password', source: { path, key: 'password' } },
        ],
      })
      const volume = await node.publish({ importName: 'plain' })
      const other = await node.publish({ importName: 'plain' })
      t.ok(await logsIn(volume))
      t.ok(await logsIn(other))
      t.not(volume.read('user'), other.read('user'))
      const user = volume.read('user')
      await sleep(3_000)
      t.equal(volume.read('user'), user, 'three intervals later')
      await until(
        'what was leased to find out to be gone',
        async () => (await node.leases('long')).length === 2,
      )
      await node.unpublish(volume)
      await node.unpublish(other)
    },
  )

  await t.test(
    'nothing of all that is left in Vault or PostgreSQL but what batch tokens leave',
    async (t) => {
      for (const role of ['app', 'ends']) t.same(await node.leases(role), [], role)
      await node.vault.admin.write('sys/leases/revoke-prefix/database/creds/long')
      await until('no user to be left', async () => (await node.users()).length === 0, { everyMs: 100 })
    },
  )

  const cannotKeep = attributesRefused()
  const canKeep = cannotKeep === undefined && 'trusted attributes are allowed here'
  await t.test(
    'where nothing can be kept over a restart, a new pair replaces the old',
    { skip: canKeep },
    async (t) => {
      await node.writeImport('lost', databaseImport('long'))
      const volume = await node.publish({ importName: 'lost' })
      const before = { user: volume.read('user'), password: volume.read('password') }
      await node.kill9()
      await node.start()
      t.ok(await logsIn(volume), 'until then the old one is good')
      await node.republish(volume)
      await until('the new pair', () => volume.read('user') !== before.user)
      t.ok(await logsIn(volume))
      await node.unpublish(volume)
      t.match(node.output(), /cannot be kept over a restart/)
    },
  )

  await t.test('over a restart', cannotKeep ? { skip: cannotKeep } : {}, async (t) => {
    await node.writeImport('kept', databaseImport('long'))
    for (const [how, end] of [
      ['SIGTERM', () => node.stop()],
      ['kill -9', () => node.kill9()],
    ] as const) {
      await t.test(`after ${how} the lease is resumed: same pair, no second lease`, async (t) => {
        const volume = await node.publish({ importName: 'kept' })
        const user = volume.read('user')
        await end()
        await node.start()
        await node.republish(volume)
        await sleep(1_500)
        t.equal(volume.read('user'), user)
        t.ok(await logsIn(volume))
        t.equal((await node.leases('long')).length, 1)
        await node.unpublish(volume)
        await until('the lease to go', async () => (await node.leases('long')).length === 0)
      })
    }
    await t.test(
      'killed again and again while new pairs are made, no lease of an hour is left',
      async (t) => {
        await node.writeImport('edited', databaseImport('long', { name: 'db' }))
        const volume = await node.publish({ importName: 'edited' })
        for (let round = 0; round < 10; round++) {
          const user = volume.read('user')
          // Under another name it is another call, which asks for a pair of its own.
          await node.writeImport('edited', databaseImport('long', { name: `db${round}` }))
          await sleep(round * 12)
          await node.kill9()
          await node.start()
          await node.republish(volume)
          await until('the new pair', () => volume.read('user') !== user)
          t.ok(await logsIn(volume))
        }
        await until('the other leases to go', async () => (await node.leases('long')).length === 1, {
          timeoutMs: 60_000,
        })
        await node.unpublish(volume)
        await until('the last lease to go', async () => (await node.leases('long')).length === 0)
        t.same(await node.users(), [])
      },
    )
  })
})
