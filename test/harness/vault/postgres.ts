import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { atExit } from '../at-exit.ts'
import { freePort } from '../free-port.ts'
import { until } from '../until.ts'

/** A real PostgreSQL on loopback, for the credentials that a database engine makes. */
export type Postgres = {
  port: number
  /** The superuser. */
  user: string
  password: string
  /** Runs SQL as the superuser; the answer's rows, one a line. @throws Error with PostgreSQL's words */
  sql(text: string): Promise<string>
  /** Whether the server lets this login in. @throws Error when it could not be asked */
  canLogIn(user: string, password: string): Promise<boolean>
  /** Stops the server and deletes its data. */
  close(): Promise<void>
}

const SUPERUSER = 'postgres'
const NOBODY = 65_534

/** Why there is no PostgreSQL here, to name the tests that are skipped; undefined when there is one. */
export function postgresMissing(): string | undefined {
  if (findBinaries() === undefined) {
    return 'no PostgreSQL server here: neither postgres on PATH nor /usr/lib/postgresql/*/bin (package postgresql)'
  }
  return undefined
}

/** @throws Error with the server's last lines when it does not come up */
export async function startPostgres(): Promise<Postgres> {
  const binaries = findBinaries()
  if (binaries === undefined) throw new Error(postgresMissing())
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-csi-postgres-'))
  const removeFolder = () => rmSync(folder, { recursive: true, force: true })
  const cancelRemoval = atExit(removeFolder)
  const remove = () => {
    cancelRemoval()
    removeFolder()
  }
  try {
    const server = await bringUp(binaries, folder)
    const close = async () => {
      await server.stop()
      remove()
    }
    return { ...server.postgres, close }
  } catch (error) {
    remove()
    throw error
  }
}

async function bringUp(binaries: string, folder: string) {
  const as = ordinaryUser()
  const password = 'a-test-password'
  const passwordFile = join(folder, 'password')
  writeFileSync(passwordFile, password)
  for (const path of [folder, passwordFile]) if (as.uid !== undefined) chownSync(path, as.uid, as.uid)

  const data = join(folder, 'data')
  await run(as, join(binaries, 'initdb'), [
    ...['--pgdata', data, '--username', SUPERUSER, '--pwfile', passwordFile],
    ...['--auth', 'scram-sha-256', '--encoding', 'UTF8', '--no-locale', '--no-sync'],
  ])
  const port = await freePort()
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    fsync: 'off',
    max_connections: '20',
    shared_buffers: '16MB',
  }
  const server = launch(as, join(binaries, 'postgres'), [
    ...['-D', data, '-p', String(port)],
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ])

  const psql = (user: string, secret: string, text: string) =>
    promisify(execFile)(
      join(binaries, 'psql'),
      ['-X', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', '127.0.0.1', '-p', String(port), '-U', user].concat([
        '-d',
        'postgres',
        '-w',
        '-c',
        text,
      ]),
      { env: { ...process.env, PGPASSWORD: secret, PGCONNECT_TIMEOUT: '5' } },
    )
  const sql = async (text: string) => (await psql(SUPERUSER, password, text)).stdout.trim()
  try {
    await until('PostgreSQL to answer', async () => server.hasEnded() || (await sql('SELECT 1')), {
      everyMs: 50,
    })
    if (server.hasEnded()) throw new Error(`postgres ended: ${server.lastLines()}`)
  } catch (error) {
    await server.stop()
    throw error
  }
  const canLogIn = async (user: string, secret: string) => {
    try {
      await psql(user, secret, 'SELECT 1')
      return true
    } catch (error) {
      // PostgreSQL says the same for a wrong password and for a user that is not there.
      if (/password authentication failed/.test(String(error))) return false
      throw error
    }
  }
  return { postgres: { port, user: SUPERUSER, password, sql, canLogIn }, stop: server.stop }
}

/** Debian keeps the server's programs apart from PATH, by version. */
function findBinaries(): string | undefined {
  const onPath = (process.env.PATH ?? '').split(delimiter)
  const debian = globSync('/usr/lib/postgresql/*/bin').sort((one, other) =>
    other.localeCompare(one, 'en', { numeric: true }),
  )
  // psql in Debian's PATH is a script that looks for clusters of its own.
  return [...debian, ...onPath].find((folder) =>
    ['postgres', 'initdb', 'psql'].every((program) => existsSync(join(folder, program))),
  )
}

type User = { uid: number | undefined; before: string[] }

/**
 * PostgreSQL refuses to run as root. Root becomes nobody; where that user is not mapped, as in `unshare
 * --map-root-user`, a user namespace of its own gives root that number.
 */
function ordinaryUser(): User {
  if (process.getuid?.() !== 0) return { uid: undefined, before: [] }
  const isMapped = readFileSync('/proc/self/uid_map', 'utf8')
    .trim()
    .split('\n')
    .some((line) => {
      const [first = 0, , count = 0] = line.trim().split(/\s+/).map(Number)
      return first <= NOBODY && NOBODY < first + count
    })
  if (isMapped) return { uid: NOBODY, before: [] }
  return { uid: undefined, before: ['unshare', '--user', `--map-user=${NOBODY}`, `--map-group=${NOBODY}`] }
}

function spawnAs({ uid, before }: User, program: string, args: string[]): ChildProcess {
  const [first = program, ...rest] = [...before, program, ...args]
  return spawn(first, rest, {
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
    ...(uid === undefined ? {} : { uid, gid: uid }),
  })
}

async function run(as: User, program: string, args: string[]): Promise<void> {
  const child = spawnAs(as, program, args)
  const lines = keepLines(child)
  const [status] = await once(child, 'close')
  if (status !== 0) throw new Error(`${program} ended with ${status}: ${lines()}`)
}

function launch(as: User, program: string, args: string[]) {
  const child = spawnAs(as, program, args)
  const lastLines = keepLines(child)
  const closed = once(child, 'close')
  const cancelKill = atExit(() => child.kill('SIGQUIT'))
  return {
    lastLines,
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
    stop: async () => {
      cancelKill()
      // Fast shutdown: sessions are cut off.
      child.kill('SIGINT')
      await closed
    },
  }
}

function keepLines(child: ChildProcess): () => string {
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => {
      text = `${text}${chunk}`.slice(-2_000)
    })
  }
  return () => text.trim()
}
