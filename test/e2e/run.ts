// `npm run test:e2e [-- FILE...]`: the plugin under a real kubelet and API server. Takes the cluster of $KUBECONFIG,
// else boots ../shared/cluster and stops it again. The files share the cluster: one after the other.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { type BootedCluster, bootCluster } from '../harness/cluster/boot-cluster.ts'
import { buildTap } from '../harness/runner/build-tap.ts'
import { showTap } from '../harness/runner/tap-output.ts'

const ROOT = resolve(import.meta.dirname, '../..')
/** Seconds for one file. */
const FILE_TIMEOUT = 900

const own = relative(ROOT, import.meta.filename)
const only = process.argv.slice(2)
const files = only.length > 0 ? only : globSync('test/e2e/*.ts', { cwd: ROOT }).filter((file) => file !== own)

buildTap()
let cluster: BootedCluster | undefined
let status: number | null = 1
try {
  if (!process.env.KUBECONFIG) cluster = await bootCluster()
  status = await runTap(process.env.KUBECONFIG ?? cluster?.kubeconfig ?? '')
} catch (error) {
  console.error((error as Error).message)
  console.log('0 passed, 1 failed, 0 skipped')
} finally {
  await cluster?.close()
}
process.exit(status ?? 1)

async function runTap(kubeconfig: string): Promise<number | null> {
  const args = ['run', '--disable-coverage', '--reporter=tap', '--jobs=1', `--timeout=${FILE_TIMEOUT}`]
  const child = spawn('tap', [...args, ...files.sort()], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, KUBECONFIG: kubeconfig },
  })
  // Ctrl-C reaches tap as well, which ends its tests: the cluster goes after them.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  const ended = once(child, 'close') as Promise<[number | null]>
  const counts = await showTap(child.stdout, (file) => `npm run test:e2e -- ${file}`)
  const [code] = await ended
  console.log(counts)
  return code
}
