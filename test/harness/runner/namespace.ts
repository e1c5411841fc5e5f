import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

const MARK = 'VAULT_FILES_CSI_IN_NAMESPACE'

/**
 * Runs this same program again where it may mount: root in a mount namespace of its own, an ordinary user in a user
 * namespace too. Whatever happens to the program, its mounts go with it.
 * @returns undefined inside; outside, the exit code of the run inside
 * @throws Error that says what is missing
 */
export async function inOwnNamespace(): Promise<number | undefined> {
  if (process.env[MARK] !== undefined) return undefined
  const isRoot = process.getuid?.() === 0
  const unshare = ['--mount', '--propagation=private', ...(isRoot ? [] : ['--user', '--map-root-user'])]
  const probe = spawnSync('unshare', [...unshare, 'true'], { encoding: 'utf8' })
  if (probe.error) throw new Error('`unshare` is missing; install it: apt-get install util-linux')
  if (probe.status !== 0) {
    throw new Error(
      `a mount namespace is refused here (${probe.stderr.trim()}); run as root, or allow it: sysctl -w user.max_user_namespaces=10000`,
    )
  }
  const child = spawn(
    'unshare',
    [...unshare, process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    {
      stdio: 'inherit',
      env: { ...process.env, [MARK]: '1' },
    },
  )
  // The terminal sends Ctrl-C to the whole group: the one inside cleans up, we only wait for it.
  process.on('SIGINT', () => undefined)
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  const [code] = (await once(child, 'close')) as [number | null]
  return code ?? 1
}
