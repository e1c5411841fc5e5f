import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { version } from '../../src/commands/arguments.ts'
import { kubectl, mustKubectl, noCluster } from '../harness/cluster/cluster.ts'
import { readLastStage } from '../harness/cluster/dockerfile.ts'
import { importImage, makeImage, noPacker, stage } from '../harness/cluster/image.ts'
import { until } from '../harness/until.ts'

const run = promisify(execFile)
const socket = join(dirname(process.env.KUBECONFIG ?? ''), 'containerd.sock')

t.setTimeout(300_000)

t.test('what the Dockerfile copies runs on its own', async (t) => {
  const app = mkdtempSync(join(tmpdir(), 'vault-files-csi-app-'))
  t.teardown(() => rmSync(app, { recursive: true, force: true }))
  await stage(app)
  t.strictSame(readdirSync(app).sort(), ['LICENSE', 'dist', 'node_modules', 'package.json', 'proto'])
  t.ok(existsSync(join(app, 'dist/main.js')))
  t.notOk(existsSync(join(app, 'node_modules/tap')), 'no development packages')
  const { stdout } = await run(process.execPath, [join(app, 'dist/main.js'), '--version'])
  t.equal(stdout.trim(), version())
})

t.test('an image is packed once for one state of the source', { skip: noPacker }, async (t) => {
  const image = await makeImage()
  t.ok(existsSync(image.tar))
  t.strictSame(image.command, readLastStage().entrypoint)
  const startedAt = performance.now()
  t.same(await makeImage(), image)
  t.ok(performance.now() - startedAt < 2_000, 'the second time takes no build')
})

t.test(
  'a pod runs the image',
  {
    skip:
      noPacker || noCluster || (existsSync(socket) ? false : 'the containerd of the cluster is not at hand'),
  },
  async (t) => {
    const image = await makeImage()
    await importImage(image, socket)
    const name = `image-${process.pid}`
    t.teardown(() => spawnSync('kubectl', ['delete', 'pod', name, '--wait=false']))
    const container = {
      name: 'plugin',
      image: image.name,
      imagePullPolicy: 'Never',
      command: image.command,
      args: ['--version'],
      env: image.env,
      securityContext: { readOnlyRootFilesystem: true },
    }
    mustKubectl(['create', '-f', '-'], {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: {
        nodeName: 'node1',
        hostNetwork: true,
        restartPolicy: 'Never',
        tolerations: [{ operator: 'Exists' }],
        containers: [container],
      },
    })
    const phase = () => kubectl(['get', 'pod', name, '-o', 'jsonpath={.status.phase}']).stdout
    await until('the pod to end', () => ['Succeeded', 'Failed'].includes(phase()), { timeoutMs: 60_000 })
    t.equal(mustKubectl(['logs', name]).trim(), version())
  },
)
