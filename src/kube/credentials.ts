import { readFileSync } from 'node:fs'
import type { User } from '@kubernetes/client-node'
import { ExecAuth } from '@kubernetes/client-node/dist/exec_auth.js'
import type { Clock } from '../core/ports/clock.ts'
import { SecretText } from '../core/secret.ts'
import type { Credential, Credentials } from './connection.ts'

/** kubelet renews a pod's token at 80 % of its life, an hour or more: a minute late never matters. */
const REREAD_MS = 60_000

/** A text, or the file that holds it. */
export type TextOrFile = { text: string } | { file: string } | undefined

/** Where each part of a credential comes from. */
export type CredentialSources = {
  token: TextOrFile
  ca: TextOrFile
  clientCertificate: TextOrFile
  clientKey: TextOrFile
  /** A user whose kubeconfig names a command that prints a credential. */
  exec: User | undefined
}

export function createCredentials(sources: CredentialSources, clock: Pick<Clock, 'monotonic'>): Credentials {
  let held: { credential: Credential; readAt: number } | undefined
  let exec = new ExecAuth()

  return {
    async current() {
      if (held !== undefined && clock.monotonic() - held.readAt < REREAD_MS) return held.credential
      const credential = await read(sources, exec)
      held = { credential, readAt: clock.monotonic() }
      return credential
    },
    expire() {
      held = undefined
      exec = new ExecAuth()
    },
  }
}

async function read(sources: CredentialSources, exec: ExecAuth): Promise<Credential> {
  const certificate = textOf(sources.clientCertificate)
  const key = textOf(sources.clientKey)
  const token = textOf(sources.token)?.trim()
  const own: Credential = {
    token: token ? new SecretText(token) : undefined,
    ca: textOf(sources.ca),
    certificate: certificate && key ? { certificate, key: new SecretText(key) } : undefined,
  }
  return sources.exec === undefined ? own : { ...own, ...(await printed(exec, sources.exec)) }
}

/** What the kubeconfig's command printed. */
async function printed(exec: ExecAuth, user: User): Promise<Partial<Credential>> {
  const options: { headers: Record<string, string>; cert?: string; key?: string } = { headers: {} }
  try {
    await exec.applyAuthentication(user, options)
  } catch {
    // The command's own words may hold what it printed before it failed.
    throw new Error(
      `the kubeconfig's command ${String(user.exec?.command)} gave no credential, run it by hand to see why`,
    )
  }
  const { cert, key } = options
  const token = options.headers.Authorization?.replace(/^Bearer /, '')
  return {
    ...(token ? { token: new SecretText(token) } : {}),
    ...(cert && key ? { certificate: { certificate: cert, key: new SecretText(key) } } : {}),
  }
}

function textOf(source: TextOrFile): string | undefined {
  if (source === undefined) return undefined
  return 'text' in source ? source.text : readFileSync(source.file, 'utf8')
}
