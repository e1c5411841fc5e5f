import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createMounter } from '../../../src/volume/mount.ts'
import { startVaultFront, type VaultFront } from '../../fakes/vault-front.ts'
import { freePort } from '../free-port.ts'
import { createImportsFolder } from '../imports/imports-folder.ts'
import { connectKubelet, type Kubelet, KubeletError } from '../kubelet/kubelet.ts'
import { type PodVolume, type PodWish, podVolume, tokensFor } from '../kubelet/pod-volume.ts'
import { parseSamples, type Samples } from '../measure/samples.ts'
import { until } from '../until.ts'
import { type RealVault, startRealVault } from '../vault/real-vault.ts'
import { type LogLine, parseLog } from './log-lines.ts'
import { type Plugin, startPlugin } from './plugin.ts'

export type NodeOptions = {
  vault?: Parameters<typeof startRealVault>[0]
  /** More flags; of one given twice the last counts. */
  args?: readonly string[]
  env?: Readonly<Record<string, string>>
}

/**
 * A node in small: OpenBao, the plugin as its own process, and kubelet's part played over the real socket.
 * The plugin reaches Vault through `front`.
 */
export type RealNode = {
  vault: RealVault
  front: VaultFront
  kubelet: Kubelet
  folder: string
  endpoint: string
  plugin(): Plugin
  /** Of all processes so far, oldest first. */
  log(): LogLine[]
  /** Everything that all processes printed. */
  output(): string
  metrics(): Promise<Samples>
  /** Asks the plugin's own http server. */
  http(path: string): Promise<Response>

  /** Writes `spec` as the import `name` of namespace `shop` and waits until the plugin has taken it. */
  writeImport(name: string, spec: object): Promise<void>
  /** The raw text of a file in the imports directory; undefined deletes it. */
  writeImportFile(file: string, text: string | undefined): void

  publish(wish: PodWish): Promise<PodVolume>
  /** As kubelet does every minute for a live pod, with a fresh token. */
  republish(volume: PodVolume, more?: Partial<PodVolume['args']>): Promise<void>
  /** The error of a first publish that must fail; it is made sure that it leaves nothing behind. */
  refusal(wish: PodWish): Promise<KubeletError>
  unpublish(volume: PodVolume): Promise<void>

  /** SIGTERM, then the exit code. */
  stop(): Promise<number | null>
  kill9(): Promise<void>
  start(options?: Pick<NodeOptions, 'args' | 'env'>): Promise<void>
  /** What is left of `target`, in words; '' when nothing is. */
  leftovers(target: string): string
  /** Unpublishes and stops everything. @throws Error when anything is left */
  close(): Promise<void>
}

export async function startRealNode(
  t: { teardown(task: () => Promise<void>): void },
  options: NodeOptions = {},
): Promise<RealNode> {
  const vault = await startRealVault(options.vault)
  const front = await startVaultFront(vault.bao.address)
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-node-'))
  const imports = createImportsFolder(join(folder, 'imports'))
  const ledger = join(folder, 'state/volumes')
  const endpoint = `unix://${join(folder, 'csi.sock')}`
  const httpPort = await freePort()
  const kubelet = connectKubelet(endpoint)
  const volumes = new Set<PodVolume>()
  const mounter = createMounter()
  const past: string[] = []
  let running: Plugin | undefined

  const plugin = () => {
    if (running === undefined) throw new Error('the plugin is stopped')
    return running
  }

  const start: RealNode['start'] = async ({ args = options.args ?? [], env = options.env ?? {} } = {}) => {
    running = await startPlugin({
      endpoint,
      args: [
        '--node-id=node-1',
        `--imports=dir:${imports.path}`,
        `--state-dir=${join(folder, 'state')}`,
        `--vault-addr=${front.address}`,
        `--http-addr=127.0.0.1:${httpPort}`,
        '--rotation-interval=1s',
        '--min-refresh-interval=100ms',
        '--log-format=json',
        ...args,
      ],
      env: { ...compileCache(folder), ...env },
    })
  }

  async function ended<T>(end: (plugin: Plugin) => Promise<T>): Promise<T> {
    const ending = plugin()
    running = undefined
    try {
      return await end(ending)
    } finally {
      past.push(ending.output())
    }
  }

  const output = () => [...past, running?.output() ?? ''].join('')
  const log = () => parseLog(output())

  function leftovers(target: string): string {
    if (mounter.list().has(target)) return `a mount at ${target}`
    if (existsSync(target)) return `a directory at ${target}`
    const entry = `${createHash('sha256').update(target).digest('hex')}.json`
    return existsSync(join(ledger, entry)) ? `a ledger entry of ${target}` : ''
  }

  const http = (path: string) => fetch(`http://127.0.0.1:${httpPort}${path}`)

  const node: RealNode = {
    vault,
    front,
    kubelet,
    folder,
    endpoint,
    plugin,
    output,
    log,
    http,
    start,
    writeImportFile: imports.writeFile,
    leftovers,
    metrics: async () => parseSamples(await (await http('/metrics')).text()),
    stop: () => ended((ending) => ending.stop()),
    kill9: () => ended((ending) => ending.kill()),

    async writeImport(name, spec) {
      const taken = () =>
        log().filter(({ msg, importName }) => msg === 'import changed' && importName === name).length
      const before = taken()
      const isNew = imports.write(name, spec)
      if (isNew && running !== undefined) await until(`import ${name} to be taken`, () => taken() > before)
    },

    async publish(wish) {
      const volume = podVolume(folder, vault.issuer, wish)
      volumes.add(volume)
      await kubelet.nodePublish(volume.args)
      return volume
    },

    async republish({ args }, more = {}) {
      await kubelet.nodePublish({ ...args, tokens: tokensFor(vault.issuer, args.pod), ...more })
    },

    async refusal(wish) {
      const volume = podVolume(folder, vault.issuer, wish)
      const error = await kubelet.nodePublish(volume.args).then(
        () => new Error('the publish must fail'),
        (thrown: unknown) => thrown,
      )
      const left = leftovers(volume.target)
      if (left !== '') throw new Error(`a failed publish left ${left}`)
      if (error instanceof KubeletError) return error
      throw error
    },

    async unpublish(volume) {
      await kubelet.nodeUnpublish({ volumeId: volume.args.volumeId, targetPath: volume.target })
      volumes.delete(volume)
      const left = leftovers(volume.target)
      if (left !== '') throw new Error(`unpublish left ${left}`)
    },

    async close() {
      const faults: unknown[] = []
      const attempt = async (task: () => unknown) => {
        try {
          await task()
        } catch (error) {
          faults.push(error)
        }
      }
      if (volumes.size > 0 && running === undefined) await attempt(() => start())
      for (const volume of volumes) await attempt(() => node.unpublish(volume))
      const entries = existsSync(ledger) ? readdirSync(ledger).filter((name) => name.endsWith('.json')) : []
      if (entries.length > 0) faults.push(new Error(`left in the ledger: ${entries.join()}`))
      if (running !== undefined) {
        await attempt(async () => {
          const code = await node.stop()
          if (code !== 0) throw new Error(`the plugin ended with ${code}`)
        })
      }
      for (const path of mounter.list().keys()) {
        if (!path.startsWith(folder)) continue
        faults.push(new Error(`left mounted: ${path}`))
        mounter.unmount(path)
      }
      kubelet.close()
      await attempt(() => front.close())
      await attempt(() => vault.close())
      rmSync(folder, { recursive: true, force: true })
      if (faults.length > 0)
        throw new AggregateError(
          faults,
          `not closed cleanly: ${faults.map(String).join('; ')}\n${output().slice(-4_000)}`,
        )
    },
  }
  t.teardown(() => node.close())
  try {
    await start()
  } catch (error) {
    await node.close()
    throw error
  }
  return node
}

/** Halves the time of a restart; coverage is exact only without it. */
function compileCache(folder: string): Record<string, string> {
  return process.env.NODE_V8_COVERAGE === undefined ? { NODE_COMPILE_CACHE: join(folder, 'compiled') } : {}
}
