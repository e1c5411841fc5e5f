import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { readDoc } from '../../../docs/generate/doc-files.ts'
import { createCertificateAuthority } from '../pki/certificates.ts'
import { findOrFetchOpenBao } from './openbao.ts'
import { AUDIENCE, type RealVault } from './real-vault.ts'

const run = promisify(execFile)

/** `kubectl -n NAMESPACE create token ACCOUNT --audience=vault`, and nothing else. */
const KUBECTL = `#!/bin/sh
[ "$3 $4 $6" = "create token --audience=${AUDIENCE}" ] || exit 64
exec cat "$(dirname "$0")/../tokens/$2.$5"
`

/** A fenced block of a page of docs/. */
export type DocBlock = { heading: string; language: string; text: string }

export function docBlocks(page: string): DocBlock[] {
  return readDoc(page)
    .split(/^## /m)
    .flatMap((section) => {
      const heading = section.split('\n', 1)[0] ?? ''
      const fences = section.matchAll(/^```(\w+)\n(.*?)^```$/gms)
      return [...fences].map(([, language = '', text = '']) => ({ heading, language, text }))
    })
}

/** Runs the commands of a page for Vault admins, as root of a real OpenBao. */
export type DocShell = {
  /** What the script printed. @throws Error with what it said when it fails */
  run(script: string): Promise<string>
  close(): void
}

/**
 * @param options.env what the page takes from the environment
 * @param options.accounts for whom kubectl, which is played here, makes tokens: `shop.backend`
 */
export async function createDocShell(
  vault: RealVault,
  options: { env: Readonly<Record<string, string>>; accounts: readonly string[] },
): Promise<DocShell> {
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-shell-'))
  const bin = join(folder, 'bin')
  for (const part of ['bin', 'tokens']) mkdirSync(join(folder, part))
  symlinkSync(await findOrFetchOpenBao(), join(bin, 'bao'))
  writeFileSync(join(bin, 'kubectl'), KUBECTL)
  chmodSync(join(bin, 'kubectl'), 0o755)
  const reviewer = { namespace: 'kube-system', serviceAccount: 'vault-reviewer', audience: 'api' }
  writeFileSync(join(folder, 'reviewer.jwt'), vault.issuer.issue(reviewer))
  writeFileSync(join(folder, 'kube-ca.crt'), createCertificateAuthority().certificate)
  for (const account of options.accounts) {
    const [namespace = '', serviceAccount = ''] = account.split('.')
    const token = vault.issuer.issue({ namespace, serviceAccount, audience: AUDIENCE })
    writeFileSync(join(folder, 'tokens', account), token)
  }
  const env = {
    PATH: `${bin}:${process.env.PATH}`,
    HOME: folder,
    BAO_ADDR: vault.bao.adminAddress,
    BAO_TOKEN: vault.bao.rootToken,
    ...options.env,
  }
  return {
    run: async (script) => {
      const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', script], { cwd: folder, env })
      return stdout
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}
