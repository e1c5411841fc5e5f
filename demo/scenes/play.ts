import { readdirSync } from 'node:fs'
import type { OpenBao } from '../../test/harness/vault/openbao.ts'
import { SECRET_PATH } from '../cast.ts'
import type { Stage } from '../stage.ts'

/** Says what there is to play with, and waits for Ctrl-C. */
export async function play(stage: Stage, target: string, vault: OpenBao): Promise<never> {
  const enter = process.getuid?.() === 0 && process.env.VAULT_FILES_CSI_IN_NAMESPACE === undefined
  const nsenter = `nsenter --target ${process.pid} --user --mount --preserve-credentials`
  stage.title('Yours to play with; Ctrl-C ends it')
  stage.show(
    [
      ...(enter ? [] : ['# first, in another terminal, go where the files are:', nsenter]),
      `ls -l ${target}`,
      `cat ${target}/db-password`,
      '# change the secret, then look again:',
      `curl -H "X-Vault-Token: ${vault.rootToken}" -d '{"data":{"password":"mine"}}' ${vault.address}/v1/${SECRET_PATH}`,
      `# what is there: ${readdirSync(target).join(' ')}`,
    ].join('\n'),
  )
  return new Promise(() => setInterval(() => undefined, 60_000))
}
