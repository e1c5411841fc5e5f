import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parse } from 'yaml'
import * as z from 'zod'
import type { Clock } from '../core/ports/clock.ts'
import type { Connection } from './connection.ts'
import { createCredentials, type TextOrFile } from './credentials.ts'

const text = z.string().nullish()

const clusterSchema = z.object({
  server: z.string().regex(/^https?:\/\//),
  'certificate-authority': text,
  'certificate-authority-data': text,
  'insecure-skip-tls-verify': z.boolean().nullish(),
  'tls-server-name': text,
  'proxy-url': text,
})

const execSchema = z.object({
  apiVersion: z.string(),
  command: z.string(),
  args: z.array(z.string()).nullish(),
  env: z.array(z.object({ name: z.string(), value: z.string() })).nullish(),
})

const userSchema = z.object({
  token: text,
  tokenFile: text,
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
  exec: execSchema.nullish(),
  'auth-provider': z.unknown().optional(),
  username: text,
  as: text,
})

const kubeconfigSchema = z.object({
  'current-context': text,
  contexts: z.array(
    z.object({ name: z.string(), context: z.object({ cluster: z.string(), user: z.string() }) }),
  ),
  clusters: z.array(z.object({ name: z.string(), cluster: clusterSchema })),
  users: z.array(z.object({ name: z.string(), user: userSchema })),
})

type Kubeconfig = z.output<typeof kubeconfigSchema> & { path: string }
type Cluster = z.output<typeof clusterSchema>
type User = z.output<typeof userSchema>

/**
 * The connection of the current context. Of several files the first that names something wins, as with kubectl.
 * @throws Error that names the file and the field at fault, never its value
 */
export function readKubeconfig(
  paths: readonly string[],
  clock: Pick<Clock, 'monotonic' | 'now'>,
): Connection {
  const files = paths.map(readFile)
  const contextName = files.find((file) => file['current-context'])?.['current-context'] ?? ''
  const { context } = find(files, 'contexts', contextName, 'current-context')
  const { cluster, file: clusterFile } = find(files, 'clusters', context.cluster, `cluster of ${contextName}`)
  const { user, file: userFile } = find(files, 'users', context.user, `user of ${contextName}`)
  refuseUnsupported(cluster, user, paths)

  const sources = {
    token: source(userFile, user.token, user.tokenFile),
    ca: source(clusterFile, decoded(cluster['certificate-authority-data']), cluster['certificate-authority']),
    clientCertificate: source(userFile, decoded(user['client-certificate-data']), user['client-certificate']),
    clientKey: source(userFile, decoded(user['client-key-data']), user['client-key']),
    exec: user.exec
      ? { ...user.exec, args: user.exec.args ?? [], env: user.exec.env ?? [], server: cluster.server }
      : undefined,
  }
  return {
    server: cluster.server.replace(/\/+$/, ''),
    tlsServerName: cluster['tls-server-name'] ?? undefined,
    skipTLSVerify: cluster['insecure-skip-tls-verify'] ?? false,
    credentials: createCredentials(sources, clock),
  }
}

function readFile(path: string): Kubeconfig {
  const checked = kubeconfigSchema.safeParse(parseFile(path))
  if (checked.success) return { ...checked.data, path }
  const [issue] = checked.error.issues
  throw new Error(`${path} is no kubeconfig: ${issue?.path.join('.')}: ${issue?.message}`)
}

function parseFile(path: string): unknown {
  const content = readFileSync(path, 'utf8')
  try {
    return parse(content, { prettyErrors: false, logLevel: 'error' })
  } catch {
    // The parser's message quotes the text, which holds tokens and keys.
    throw new Error(`${path} is not YAML`)
  }
}

type Lists = Pick<Kubeconfig, 'contexts' | 'clusters' | 'users'>

/** @param what the field that names the entry, for the error */
function find<List extends keyof Lists>(
  files: readonly Kubeconfig[],
  list: List,
  name: string,
  what: string,
): Lists[List][number] & { file: string } {
  for (const file of files) {
    const entries: readonly Lists[List][number][] = file[list]
    const entry = entries.find((one) => one.name === name)
    if (entry !== undefined) return { ...entry, file: file.path }
  }
  const paths = files.map((file) => file.path).join(', ')
  throw new Error(`${paths}: ${what}: ${JSON.stringify(name)} is not among ${list}`)
}

function refuseUnsupported(cluster: Cluster, user: User, paths: readonly string[]): void {
  const named = [
    cluster['proxy-url'] && 'proxy-url',
    user['auth-provider'] && 'auth-provider (use exec)',
    user.username && 'username',
    user.as && 'as',
  ].filter(Boolean)
  if (named.length > 0) throw new Error(`${paths.join(', ')}: not supported here: ${named.join(', ')}`)
}

/** A relative path starts at the kubeconfig's directory. */
function source(
  kubeconfig: string,
  content: string | null | undefined,
  file: string | null | undefined,
): TextOrFile {
  if (content) return { text: content }
  return file ? { file: resolve(dirname(kubeconfig), file) } : undefined
}

function decoded(base64: string | null | undefined): string | undefined {
  return base64 ? Buffer.from(base64, 'base64').toString('utf8') : undefined
}
