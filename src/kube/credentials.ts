import { readFileSync } from 'node:fs'
import type { Clock } from '../core/ports/clock.ts'
import { SecretText } from '../core/secret.ts'
import type { Credential, Credentials } from './connection.ts'
import { createExecLogin, type ExecCommand, type ExecLogin } from './exec-login.ts'

/** kubelet renews a pod's token at 80 % of its life of an hour or more: a delay of a minute does no harm. */
const REREAD_MS = 60_000

/** A text, or the file that holds it. */
export type TextOrFile = { text: string } | { file: string } | undefined

/** Where each part of a credential comes from. */
export type CredentialSources = {
  token: TextOrFile
  ca: TextOrFile
  clientCertificate: TextOrFile
  clientKey: TextOrFile
  /** A command that prints a credential, which takes precedence. */
  exec: ExecCommand | undefined
}

export function createCredentials(
  sources: CredentialSources,
  clock: Pick<Clock, 'monotonic' | 'now'>,
): Credentials {
  const exec = sources.exec && createExecLogin(sources.exec, clock)
  let cached: { credential: Credential; readAt: number } | undefined

  return {
    async current() {
      if (cached !== undefined && clock.monotonic() - cached.readAt < REREAD_MS) return cached.credential
      const credential = await read(sources, exec)
      cached = { credential, readAt: clock.monotonic() }
      return credential
    },
    expire() {
      cached = undefined
      exec?.expire()
    },
  }
}

async function read(sources: CredentialSources, exec: ExecLogin | undefined): Promise<Credential> {
  const certificate = textOf(sources.clientCertificate)
  const key = textOf(sources.clientKey)
  const token = textOf(sources.token)?.trim()
  const own: Credential = {
    token: token ? new SecretText(token) : undefined,
    ca: textOf(sources.ca),
    certificate: certificate && key ? { certificate, key: new SecretText(key) } : undefined,
  }
  return exec === undefined ? own : { ...own, ...(await exec.current()) }
}

function textOf(source: TextOrFile): string | undefined {
  if (source === undefined) return undefined
  return 'text' in source ? source.text : readFileSync(source.file, 'utf8')
}
