import { readdirSync } from 'node:fs'
import type { OpenBao } from '../../test/harness/vault/openbao.ts'
import { SECRET_PATH } from '../fixtures.ts'
import type { Output } from '../output.ts'

/** Prints commands to try, and waits for Ctrl-C. */
export async function keepRunning(output: Output, target: string, vault: OpenBao): Promise<never> {
  const isInHostNamespace = process.getuid?.() === 0 && process.env.VAULT_FILES_CSI_IN_NAMESPACE === undefined
  const nsenter = `nsenter --target ${process.pid} --user --mount --preserve-credentials`
  output.title('Everything keeps running; Ctrl-C stops it')
  output.show(
    [
      ...(isInHostNamespace ? [] : ['# first, in another terminal, enter the mount namespace:', nsenter]),
      `ls -l ${target}`,
      `cat ${target}/db-password`,
      '# change the secret, then read the file again:',
      `curl -H "X-Vault-Token: ${vault.rootToken}" -d '{"data":{"password":"mine"}}' ${vault.address}/v1/${SECRET_PATH}`,
      `# files: ${readdirSync(target).join(' ')}`,
    ].join('\n'),
  )
  return new Promise(() => setInterval(() => undefined, 60_000))
}
