import { type ChildProcess, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { atExit } from '../at-exit.ts'

export { findOrFetchOpenBao } from './openbao-binary.ts'

/** How long a server may take to answer after it was started. */
const START_TIMEOUT_MS = 20_000

export type OpenBaoOptions = {
  binary: string
  /** undefined: a free one. */
  port?: number
  /** file keeps what is stored over stop() and start(). */
  storage: 'inmem' | 'file'
  /** PEM texts; the server is then reached by https at `address` and by http at `adminAddress`. */
  tls?: { certificate: string; key: string; ca: string }
}

export type OpenBao = {
  /** What clients use. */
  address: string
  /** Always plain http on loopback, for fetch. */
  adminAddress: string
  rootToken: string
  unsealKey: string
  /** Resident memory and the like are looked up by it. */
  pid(): number | undefined
  /** Stops the server; with file storage its data stay until close(). */
  stop(): Promise<void>
  /** Starts a stopped server at the same address and unseals it. */
  start(): Promise<void>
  seal(): Promise<void>
  unseal(): Promise<void>
  /** Stops the server and deletes its data. */
  close(): Promise<void>
  caPem?: string
}

type Ports = { client: number; admin: number; cluster: number }

/**
 * A real OpenBao server on loopback: initialised with one key share and unsealed. Not `-dev`, so that it can
 * be sealed, stopped and started again. Unlike a production server it keeps its unseal key in memory here.
 * @throws Error with the server's last lines when it does not come up
 */
export async function startOpenBao(options: OpenBaoOptions): Promise<OpenBao> {
  const folder = await mkdtemp(join(tmpdir(), 'vault-files-csi-openbao-'))
  const cancelRemoval = atExit(() => rmSync(folder, { recursive: true, force: true }))
  const remove = async () => {
    cancelRemoval()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const server = await bringUp(options, folder)
    const close = async () => {
      await server.stop()
      await remove()
    }
    return { ...server, close }
  } catch (error) {
    await remove()
    throw error
  }
}

async function bringUp(options: OpenBaoOptions, folder: string): Promise<Omit<OpenBao, 'close'>> {
  const client = options.port ?? (await freePort())
  const ports = { client, admin: options.tls ? await freePort() : client, cluster: await freePort() }
  const config = await writeConfig(options, folder, ports)
  const adminAddress = `http://127.0.0.1:${ports.admin}`
  let server: ServerProcess | undefined = await launch(options.binary, config, adminAddress)
  try {
    const keys = await initialise(adminAddress)
    const unseal = async () => {
      await call(adminAddress, 'PUT', 'sys/unseal', { key: keys.unsealKey })
      await untilActive(adminAddress)
    }
    const stop = async () => {
      await server?.stop()
      server = undefined
    }
    await unseal()
    return {
      address: options.tls ? `https://127.0.0.1:${ports.client}` : adminAddress,
      adminAddress,
      ...keys,
      pid: () => server?.pid,
      stop,
      start: async () => {
        server ??= await launch(options.binary, config, adminAddress)
        await unseal()
      },
      seal: async () => {
        await call(adminAddress, 'PUT', 'sys/seal', undefined, keys.rootToken)
      },
      unseal,
      ...(options.tls ? { caPem: options.tls.ca } : {}),
    }
  } catch (error) {
    await server.stop()
    throw error
  }
}

async function writeConfig(options: OpenBaoOptions, folder: string, ports: Ports): Promise<string> {
  const cluster = `127.0.0.1:${ports.cluster}`
  const plain = {
    tcp: { address: `127.0.0.1:${ports.admin}`, cluster_address: cluster, tls_disable: true },
  }
  const listener = options.tls ? [plain, await tlsListener(options.tls, folder, ports)] : [plain]
  const config = {
    storage: await storageStanza(options.storage, folder),
    listener,
    cluster_addr: `https://${cluster}`,
    api_addr: `http://127.0.0.1:${ports.admin}`,
    disable_mlock: true,
    ui: false,
    log_level: 'warn',
  }
  const path = join(folder, 'config.json')
  await writeFile(path, JSON.stringify(config), { mode: 0o600 })
  return path
}

/** OpenBao 2.7 has no plain file storage any more: a raft of one node is what keeps data in a folder. */
async function storageStanza(storage: OpenBaoOptions['storage'], folder: string): Promise<object> {
  if (storage === 'inmem') return { inmem: {} }
  const path = join(folder, 'data')
  await mkdir(path, { recursive: true })
  return { raft: { path, node_id: 'one', performance_multiplier: 1 } }
}

async function tlsListener(tls: NonNullable<OpenBaoOptions['tls']>, folder: string, ports: Ports) {
  const certificate = join(folder, 'server.crt')
  const key = join(folder, 'server.key')
  await writeFile(certificate, tls.certificate)
  await writeFile(key, tls.key, { mode: 0o600 })
  return {
    tcp: { address: `127.0.0.1:${ports.client}`, tls_cert_file: certificate, tls_key_file: key },
  }
}

type ServerProcess = { pid: number | undefined; stop(): Promise<void> }

async function launch(binary: string, config: string, address: string): Promise<ServerProcess> {
  const child = spawn(binary, ['server', `-config=${config}`], { stdio: ['ignore', 'pipe', 'pipe'] })
  const lastWords = collectOutput(child)
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  // A server must not outlive a test that crashed.
  ended.then(atExit(() => child.kill('SIGKILL')))

  const stop = async () => {
    child.kill('SIGTERM')
    const impatient = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await ended
    clearTimeout(impatient)
  }
  const up = await Promise.race([answers(address), ended.then(() => false)])
  if (!up) {
    await stop()
    throw new Error(`OpenBao did not come up at ${address}: ${lastWords()}`)
  }
  return { pid: child.pid, stop }
}

/** The last 2,000 characters that the process printed; reading also keeps its pipes from filling up. */
function collectOutput(child: ChildProcess): () => string {
  let tail = ''
  const keep = (chunk: Buffer) => {
    tail = (tail + chunk.toString('utf8')).slice(-2_000)
  }
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)
  child.once('error', (error) => keep(Buffer.from(error.message)))
  return () => tail.trim() || 'it printed nothing'
}

async function answers(address: string): Promise<boolean> {
  const deadline = Date.now() + START_TIMEOUT_MS
  while (Date.now() < deadline) {
    const status = await fetch(`${address}/v1/sys/seal-status`).then(
      (response) => response.ok,
      () => false,
    )
    if (status) return true
    await sleep(50)
  }
  return false
}

/** Unsealing answers before the server has become the active node; until then it refuses requests. */
async function untilActive(address: string): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS
  while (Date.now() < deadline) {
    const response = await fetch(`${address}/v1/sys/health`)
    if (response.status === 200) return
    await sleep(20)
  }
  throw new Error(`OpenBao at ${address} was unsealed but did not become active`)
}

async function initialise(address: string): Promise<{ rootToken: string; unsealKey: string }> {
  const answer = await call(address, 'PUT', 'sys/init', { secret_shares: 1, secret_threshold: 1 })
  const { root_token, keys_base64 } = answer as { root_token: string; keys_base64: string[] }
  return { rootToken: root_token, unsealKey: keys_base64[0] ?? '' }
}

async function call(
  address: string,
  method: string,
  path: string,
  body?: object,
  token?: string,
): Promise<unknown> {
  const response = await fetch(`${address}/v1/${path}`, {
    method,
    headers: token ? { 'X-Vault-Token': token } : {},
    ...(body ? { body: JSON.stringify(body) } : {}),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`OpenBao answered ${response.status} to ${method} ${path}`)
  return text === '' ? undefined : JSON.parse(text)
}

/** A port that was free a moment ago. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      const port = typeof address === 'object' && address ? address.port : 0
      probe.close(() => resolve(port))
    })
  })
}
