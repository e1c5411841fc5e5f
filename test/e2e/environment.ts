import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ROOT } from '../../deploy/generate/deploy-files.ts'
import { container, MOUNT } from '../harness/cluster/app-pod.ts'
import { notOurs } from '../harness/cluster/component.ts'
import { startKubeNode } from '../harness/cluster/kube-node.ts'
import { PATH, ROLE } from '../harness/cluster/kube-vault.ts'
import { until } from '../harness/until.ts'

const SECRET = 'database-for-python-app'
/** Whatever a shell might take for something of its own. */
const awkward = {
  PLAIN: 'value',
  EMPTY: '',
  SPACES: '  two  spaces ',
  QUOTES: `it's "quoted" \\' and \\"`,
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's, and it must not take it for its own
  DOLLAR: '$HOME ${PATH} $(id) `id`',
  LINES: 'one\ntwo\n\nthree\n',
  GLOB: '* ? [a-z] ~ # ! & ; | < >',
  BACKSLASH: 'a\\b\\\\c\\n',
  UNICODE: 'pässwörd ключ 鍵 🔑',
  TAB: 'a\tb',
}

t.setTimeout(300_000)

t.test('environment variables without a Kubernetes Secret', { skip: notOurs }, async (t) => {
  const node = await startKubeNode(t)
  const { vault } = node
  await vault.put(SECRET, awkward)
  await node.applyImport('environment', {
    role: ROLE,
    dataFrom: [{ path: PATH, format: 'Shell', fileName: 'app.env' }],
  })

  await t.test('an application that is started by way of app.env has every value as it is', async (t) => {
    // env -0 stands for the application: it is what the shell has become.
    const start = `. ${MOUNT}/app.env; exec env -0`
    const pod = await node.createPod({
      name: 'by-shell',
      importName: 'environment',
      containers: [container('app', `(${start}) > /tmp/environment; exec sleep 3600`)],
    })
    await pod.running()
    const entries = (await pod.exec('app', 'cat', '/tmp/environment')).split('\0').filter(Boolean)
    const seen = new Map(
      entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
    )
    for (const [key, value] of Object.entries(awkward)) t.equal(seen.get(key), value, key)
    await pod.remove()
  })

  await t.test('an application is started again when its values change, and not otherwise', async (t) => {
    const loop = readFileSync(join(ROOT, 'docs/examples/restart.sh'), 'utf8')
    const app = ['sh', '-c', 'echo "started with $PLAIN"; exec sleep 3600']
    const command = ['sh', '-c', loop, 'restart.sh', `${MOUNT}/app.env`, ...app]
    const pod = await node.createPod({
      name: 'by-loop',
      importName: 'environment',
      containers: [container('app', '', { command })],
    })
    await pod.running()
    // What a shell says of a program that was ended may be among them.
    const starts = async () =>
      (await pod.logs('app')).split('\n').filter((line) => line.startsWith('started'))
    await until('the first start', async () => (await starts()).length === 1)
    await vault.put(SECRET, { ...awkward, PLAIN: 'changed' })
    await until('the second start', async () => (await starts()).length === 2, {
      timeoutMs: 15_000,
      everyMs: 250,
    })
    t.strictSame(await starts(), ['started with value', 'started with changed'])
    t.equal(await pod.restarts(), 0)
    await pod.remove()
  })
})
