import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parse } from 'yaml'
import { atExit } from '../../harness/at-exit.ts'
import { freePort } from '../../harness/free-port.ts'
import { createCertificateAuthority } from '../../harness/pki/certificates.ts'
import { until } from '../../harness/until.ts'

const CLUSTER = resolve(import.meta.dirname, '../../../../shared/cluster')
const CRD = resolve(import.meta.dirname, '../../../deploy/crd/secretsstoreimports.yaml')
export const IMPORTS = 'apis/deckhouse.io/v1alpha1'

/** A real kube-apiserver and its etcd on ports of their own: no kubelet, which the tests play. */
export type ApiServer = {
  kubeconfig: string
  /** @returns undefined for 404. @throws Error with the API server's words */
  call(method: string, path: string, body?: object, type?: string): Promise<unknown>
  /** SIGSTOP and SIGCONT: it takes connections and says nothing. */
  pause(): void
  goOn(): void
  close(): Promise<void>
}

/** Why there can be none here; undefined: there can. */
export function whyNoApiServer(): string | undefined {
  return existsSync(join(CLUSTER, 'build'))
    ? undefined
    : '../shared/cluster is not here to take an API server from'
}

export async function startApiServer(): Promise<ApiServer> {
  execFileSync(join(CLUSTER, 'build'), { stdio: ['ignore', 'ignore', 'inherit'] })
  const programs = execFileSync(join(CLUSTER, 'bin-dir'), { encoding: 'utf8' }).trim()
  const folder = mkdtempSync(join(tmpdir(), 'vfc-api-'))
  const [client, peer, secure] = [await freePort(), await freePort(), await freePort()]
  const authority = createCertificateAuthority()
  const server = authority.issue(['127.0.0.1', 'localhost'])
  const keys = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text, { mode: 0o600 })
    return join(folder, name)
  }
  mkdirSync(join(folder, 'etcd'), { mode: 0o700 })
  const privateKey = file('sa.key', keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
  const publicKey = file('sa.pub', keys.publicKey.export({ type: 'spki', format: 'pem' }).toString())
  const started = [
    launch('etcd', [
      `--data-dir=${join(folder, 'etcd')}`,
      `--listen-client-urls=http://127.0.0.1:${client}`,
      `--advertise-client-urls=http://127.0.0.1:${client}`,
      `--listen-peer-urls=http://127.0.0.1:${peer}`,
      `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
      `--initial-cluster=default=http://127.0.0.1:${peer}`,
      '--unsafe-no-fsync',
    ]),
    launch(join(programs, 'kube-apiserver'), [
      `--etcd-servers=http://127.0.0.1:${client}`,
      '--bind-address=127.0.0.1',
      '--advertise-address=127.0.0.1',
      `--secure-port=${secure}`,
      `--tls-cert-file=${file('api.crt', server.certificate)}`,
      `--tls-private-key-file=${file('api.key', server.key)}`,
      `--token-auth-file=${file('tokens.csv', 'admintoken,admin,admin,"system:masters"\n')}`,
      '--authorization-mode=RBAC',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${publicKey}`,
      `--service-account-signing-key-file=${privateKey}`,
      '--service-cluster-ip-range=10.0.0.0/24',
      '--endpoint-reconciler-type=none',
    ]),
  ]
  const address = `https://127.0.0.1:${secure}`
  const agent = new Agent({ keepAlive: true, maxSockets: 32, ca: authority.certificate })
  const kubeconfig = file(
    'kubeconfig',
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        {
          name: 'c',
          cluster: {
            server: address,
            'certificate-authority-data': Buffer.from(authority.certificate).toString('base64'),
          },
        },
      ],
      users: [{ name: 'u', user: { token: 'admintoken' } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    }),
  )
  const call: ApiServer['call'] = (method, path, body, type = 'application/json') =>
    send(`${address}/${path}`, { agent, method, body, type })

  const close = async () => {
    agent.destroy()
    for (const one of started.reverse()) await one.end()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await until('the API server to be ready', () => call('GET', 'readyz').then(() => true), {
      timeoutMs: 90_000,
      everyMs: 250,
    })
    await call(
      'POST',
      'apis/apiextensions.k8s.io/v1/customresourcedefinitions',
      parse(readFileSync(CRD, 'utf8')) as object,
    )
    await until(
      'the CRD to be served',
      async () => (await call('GET', `${IMPORTS}/secretsstoreimports`)) !== undefined,
      { timeoutMs: 30_000 },
    )
  } catch (error) {
    await close()
    throw error
  }
  const [, apiserver] = started
  return {
    kubeconfig,
    call,
    close,
    pause: () => apiserver?.process.kill('SIGSTOP'),
    goOn: () => apiserver?.process.kill('SIGCONT'),
  }
}

function launch(program: string, args: readonly string[]): { process: ChildProcess; end(): Promise<void> } {
  const child = spawn(program, args, { stdio: 'ignore' })
  const ended = once(child, 'exit').catch(() => undefined)
  const kill = () => child.kill('SIGKILL')
  const cancelKill = atExit(kill)
  return {
    process: child,
    async end() {
      kill()
      await ended
      cancelKill()
    },
  }
}

function send(
  url: string,
  options: { agent: Agent; method: string; body: object | undefined; type: string },
): Promise<unknown> {
  const { agent, method, body, type } = options
  const { promise, resolve: done, reject } = Promise.withResolvers<unknown>()
  const headers = { Authorization: 'Bearer admintoken', ...(body ? { 'Content-Type': type } : {}) }
  const sent = request(url, { agent, method, headers, timeout: 30_000 }, (response) => {
    const chunks: Buffer[] = []
    response.on('data', (chunk: Buffer) => chunks.push(chunk))
    response.on('error', reject)
    response.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8')
      const { statusCode = 0 } = response
      if (statusCode === 404) return done(undefined)
      if (statusCode >= 300) return reject(new Error(`${method} ${url}: ${statusCode} ${text.slice(0, 300)}`))
      done(text.startsWith('{') ? JSON.parse(text) : text)
    })
  })
  sent.on('error', reject)
  sent.on('timeout', () => sent.destroy(new Error('no answer within 30 s')))
  sent.end(body && JSON.stringify(body))
  return promise
}
