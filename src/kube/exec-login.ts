import { execFile } from 'node:child_process'
import * as z from 'zod'
import type { Clock } from '../core/ports/clock.ts'
import { SecretText } from '../core/secret.ts'
import type { Credential } from './connection.ts'

/** For one run of the command. */
const LIMIT_MS = 60_000
/** Of what the command prints, in bytes. */
const MOST_BYTES = 1024 * 1024

/** A command that the kubeconfig names, and the API server to which it logs in. */
export type ExecCommand = {
  apiVersion: string
  command: string
  args: readonly string[]
  env: readonly { name: string; value: string }[]
  server: string
}

/** An ExecCredential of client.authentication.k8s.io, as far as it is used. */
const credentialSchema = z.object({
  status: z.object({
    expirationTimestamp: z.string().nullish(),
    token: z.string().nullish(),
    clientCertificateData: z.string().nullish(),
    clientKeyData: z.string().nullish(),
  }),
})

export type ExecLogin = {
  /**
   * The credential that the command prints; it runs again once that has expired.
   * @throws Error that names the command, never what it printed
   */
  current(): Promise<Partial<Credential>>
  /** The API server refused the credential: the command runs again. */
  expire(): void
}

/** Logs in with a credential plugin, as kubectl does; without a terminal. */
export function createExecLogin(exec: ExecCommand, clock: Pick<Clock, 'now'>): ExecLogin {
  let cached: { credential: Partial<Credential>; expiresAt: number } | undefined

  return {
    async current() {
      if (cached !== undefined && clock.now() < cached.expiresAt) return cached.credential
      const { status } = await run(exec).catch(() => {
        // The error quotes stderr, which may hold a secret.
        throw new Error(
          `the kubeconfig's command ${exec.command} gave no credential, run it by hand to see why`,
        )
      })
      const { token, clientCertificateData: certificate, clientKeyData: key, expirationTimestamp } = status
      const credential = {
        ...(token ? { token: new SecretText(token) } : {}),
        ...(certificate && key ? { certificate: { certificate, key: new SecretText(key) } } : {}),
      }
      cached = { credential, expiresAt: expirationTimestamp ? Date.parse(expirationTimestamp) : Infinity }
      return credential
    },
    expire() {
      cached = undefined
    },
  }
}

function run(exec: ExecCommand): Promise<z.output<typeof credentialSchema>> {
  const info = {
    apiVersion: exec.apiVersion,
    kind: 'ExecCredential',
    spec: { interactive: false, cluster: { server: exec.server } },
  }
  const env = {
    ...process.env,
    ...Object.fromEntries(exec.env.map(({ name, value }) => [name, value])),
    KUBERNETES_EXEC_INFO: JSON.stringify(info),
  }
  return new Promise((resolve, reject) => {
    const options = { env, timeout: LIMIT_MS, maxBuffer: MOST_BYTES }
    const child = execFile(exec.command, [...exec.args], options, (error, stdout) => {
      if (error !== null) return reject(error)
      try {
        resolve(credentialSchema.parse(JSON.parse(stdout)))
      } catch (fault) {
        reject(fault)
      }
    })
    child.stdin?.end()
  })
}
