import { join, resolve } from 'node:path'
import { type Plugin, startPlugin } from '../../harness/plugin/plugin.ts'

/** The checkout whose plugin is attacked: this one, unless HOSTILE_PLUGIN_ROOT names another. */
export const PLUGIN_ROOT = process.env.HOSTILE_PLUGIN_ROOT ?? resolve(import.meta.dirname, '../../..')

/** As it is shipped: types that are stripped at start take 80 MiB more. The runner has built it. */
export const PLUGIN_PROGRAM = join(PLUGIN_ROOT, 'dist/main.js')

export type AttackedPlugin = Plugin & { pid: number; hasEnded(): boolean }

export async function startAttacked(options: {
  folder: string
  endpoint: string
  httpPort: number
  vaultAddr: string
  args?: readonly string[]
  env?: Readonly<Record<string, string>>
}): Promise<AttackedPlugin> {
  const { folder, endpoint, httpPort, vaultAddr, args = [], env = {} } = options
  const plugin = await startPlugin({
    program: PLUGIN_PROGRAM,
    endpoint,
    args: [
      '--node-id=node-1',
      `--state-dir=${join(folder, 'state')}`,
      `--vault-addr=${vaultAddr}`,
      `--http-addr=127.0.0.1:${httpPort}`,
      '--rotation-interval=1s',
      '--min-refresh-interval=1s',
      '--log-format=json',
      ...args,
    ],
    // As the image starts it: see the Dockerfile.
    execArgv: ['--max-semi-space-size=2', '--no-maglev', '--optimize-for-size'],
    env: {
      NODE_ENV: 'production',
      MALLOC_ARENA_MAX: '2',
      MALLOC_TRIM_THRESHOLD_: '131072',
      NODE_COMPILE_CACHE: join(folder, 'compiled'),
      NODE_OPTIONS: '',
      NODE_V8_COVERAGE: '',
      ...env,
    },
  })
  const child = plugin.process
  return {
    ...plugin,
    pid: child.pid ?? 0,
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
  }
}
