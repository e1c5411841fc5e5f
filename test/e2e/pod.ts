import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import t from 'tap'
import { container, MOUNT } from '../harness/cluster/app-pod.ts'
import { notOurs } from '../harness/cluster/component.ts'
import { startKubeNode } from '../harness/cluster/kube-node.ts'
import { PATH, ROLE } from '../harness/cluster/kube-vault.ts'
import { passwordFile } from '../harness/cluster/team.ts'
import { until } from '../harness/until.ts'

const SECRET = 'database-for-python-app'

t.setTimeout(300_000)

t.test('a pod and its secrets, under a real kubelet', { skip: notOurs }, async (t) => {
  const node = await startKubeNode(t)
  const { vault, plugin } = node
  await vault.put(SECRET, { password: 'first', certificate: 'CERT', key: 'KEY' })
  await node.applyImport('python-backend')

  await t.test('one pod, three containers', async (t) => {
    const watch = `cat ${MOUNT}/db-password && echo && exec inotifywait -m -q -e modify ${MOUNT}/db-password`
    const pod = await node.createPod({
      name: 'backend',
      // Ends for good when the file is not there at its first start.
      restartPolicy: 'Never',
      containers: [
        container('app', watch),
        container('sub', undefined, {
          volumeMounts: [{ name: 'secrets', mountPath: '/etc/db-password', subPath: 'db-password' }],
        }),
        container('second', undefined, { volumeMounts: [{ name: 'secrets', mountPath: '/secrets' }] }),
      ],
    })
    await pod.running()

    await t.test('the file is there when the container starts for the first time', async (t) => {
      t.match(await pod.logs('app'), /^first/)
      t.equal(await pod.restarts(), 0)
    })

    await t.test('every container sees it, subPath too', async (t) => {
      t.equal(await pod.exec('second', 'cat', '/secrets/db-password'), 'first')
      t.equal(await pod.exec('sub', 'cat', '/etc/db-password'), 'first')
    })

    await t.test('inside the pod nothing can be written', async (t) => {
      for (const [name, path] of [
        ['app', `${MOUNT}/db-password`],
        ['app', `${MOUNT}/new`],
        ['second', '/secrets/..data/db-password'],
      ] as const) {
        await t.rejects(pod.exec(name, 'sh', '-c', `echo x > ${path}`), /Read-only file system/)
      }
    })

    await t.test(
      'each rotation is seen from inside, by content, mtime and IN_MODIFY on the file',
      async (t) => {
        const modifications = async () =>
          (await pod.logs('app')).split('\n').filter((line) => /MODIFY/.test(line))
        const mtime = () => pod.exec('app', 'stat', '-Lc', '%y', `${MOUNT}/db-password`)
        let seen = { mtime: await mtime(), events: (await modifications()).length }
        for (const password of ['second', 'a third and longer one']) {
          await vault.put(SECRET, { password, certificate: 'CERT', key: 'KEY' })
          await until('the new value', () => pod.read('db-password') === password)
          await until('IN_MODIFY', async () => (await modifications()).length > seen.events, { everyMs: 200 })
          t.equal(await pod.exec('app', 'cat', `${MOUNT}/db-password`), password)
          t.equal(await pod.exec('second', 'cat', '/secrets/db-password'), password)
          await until(
            'the subPath container to see it',
            async () => (await pod.exec('sub', 'cat', '/etc/db-password')) === password,
            { everyMs: 200 },
          )
          const now = { mtime: await mtime(), events: (await modifications()).length }
          t.not(now.mtime, seen.mtime)
          seen = now
        }
        const event = await pod.event(/python-backend: updated db-password/)
        t.match(event, { type: 'Normal', reason: 'SecretsStoreImportRotated' })
      },
    )

    await t.test('a secret that stays is written no more and announced no more', async (t) => {
      const looks = async () => (await plugin.metrics()).sum('refreshes_total', { result: 'unchanged' })
      const before = { logs: await pod.logs('app'), looks: await looks() }
      await until('two more looks', async () => (await looks()) >= before.looks + 2, { everyMs: 200 })
      t.equal(await pod.logs('app'), before.logs)
    })

    await t.test(
      'when it is deleted nothing is left: no mount, no directory, no ledger entry, no token',
      async (t) => {
        t.equal((await vault.loginTokens()).length, 1)
        t.equal(plugin.ledger().length, 1)
        await pod.remove()
        const folder = dirname(dirname(dirname(dirname(pod.target))))
        await until('kubelet to remove the directory of the pod', () => !existsSync(folder), {
          timeoutMs: 30_000,
        })
        t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), new RegExp(pod.uid))
        t.strictSame(plugin.ledger(), [])
        t.strictSame(await vault.loginTokens(), [])
      },
    )
  })

  await t.test('a non-root user with an fsGroup reads its files, which are root:fsGroup 0640', async (t) => {
    const pod = await node.createPod({
      name: 'non-root',
      securityContext: { runAsUser: 1000, runAsGroup: 1000, runAsNonRoot: true, fsGroup: 2000 },
    })
    await pod.running()
    const value = await pod.exec('app', 'cat', `${MOUNT}/db-password`)
    t.equal(value, 'a third and longer one')
    t.equal(await pod.exec('app', 'stat', '-Lc', '%u:%g %a', `${MOUNT}/db-password`), '0:2000 640\n')
    await vault.put(SECRET, { password: 'fourth', certificate: 'CERT', key: 'KEY' })
    await until('the new value', () => pod.read('db-password') === 'fourth')
    t.equal(await pod.exec('app', 'cat', `${MOUNT}/db-password`), 'fourth')
    t.equal(await pod.exec('app', 'stat', '-Lc', '%u:%g %a', `${MOUNT}/db-password`), '0:2000 640\n')
    await pod.remove()
  })

  await t.test('each file has the mode that the import gives it', async (t) => {
    const source = (key: string) => ({ path: PATH, key })
    const files = [
      { ...passwordFile },
      { name: 'tls.crt', source: source('certificate'), mode: 0o444 },
      { name: 'tls.key', source: source('key'), mode: 0o400 },
    ]
    await node.applyImport('modes', { role: ROLE, defaultMode: 0o604, files })
    const pod = await node.createPod({ name: 'modes', importName: 'modes' })
    await pod.running()
    const paths = files.map(({ name }) => `${MOUNT}/${name}`)
    const modes = await pod.exec('app', 'stat', '-Lc', '%a %n', ...paths)
    t.same(modes.trim().split('\n'), [`604 ${paths[0]}`, `444 ${paths[1]}`, `400 ${paths[2]}`])
    t.same(
      readdirSync(pod.target)
        .filter((name) => !name.startsWith('..'))
        .sort(),
      ['db-password', 'tls.crt', 'tls.key'],
    )
    await pod.remove()
  })
})
