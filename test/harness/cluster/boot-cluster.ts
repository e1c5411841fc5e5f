import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const FOLDER = resolve(import.meta.dirname, '../../../../shared/cluster')
/** Of its API server and its etcd. */
const PORTS = [6443, 2379]

export type BootedCluster = {
  kubeconfig: string
  /** Stops exactly what was started. */
  close(): Promise<void>
}

/**
 * Boots the cluster of ../shared/cluster, with a state directory of its own. Building its programs takes minutes, once.
 * @throws Error that says what is missing
 */
export async function bootCluster(): Promise<BootedCluster> {
  if (!existsSync(join(FOLDER, 'up'))) {
    throw new Error('no cluster: KUBECONFIG is not set, and ../shared/cluster is not there to boot one')
  }
  if (process.getuid?.() !== 0) throw new Error('no cluster: booting one from ../shared/cluster takes root')
  for (const port of PORTS) {
    if (await isTaken(port)) {
      throw new Error(`no cluster: port ${port} is taken; set KUBECONFIG if that is one you want to use`)
    }
  }
  const state = mkdtempSync(join(tmpdir(), 'vault-files-cluster-'))
  const close = async () => {
    await run(join(FOLDER, 'down'), [state])
    rmSync(state, { recursive: true, force: true })
  }
  try {
    return { kubeconfig: await up(state), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function up(state: string): Promise<string> {
  console.log('# booting a cluster with ../shared/cluster/up')
  const child = spawn(join(FOLDER, 'up'), [state], { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString('utf8')
  })
  // Not `close`: what it leaves running holds its pipes.
  const [code] = (await once(child, 'exit')) as [number | null]
  child.stdout.destroy()
  const kubeconfig = /^export KUBECONFIG=(.+)$/m.exec(said)?.[1]
  if (code !== 0 || kubeconfig === undefined) {
    throw new Error(`no cluster: ../shared/cluster/up ended with ${code}: ${said.slice(-2_000)}`)
  }
  return kubeconfig
}

function isTaken(port: number): Promise<boolean> {
  return new Promise((resolveTaken) => {
    const socket = connect({ port, host: '127.0.0.1' })
    const end = (taken: boolean) => {
      socket.destroy()
      resolveTaken(taken)
    }
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
  })
}
