import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cleanups } from '../../test/harness/cleanups.ts'
import { type Plugin, startPlugin } from '../../test/harness/plugin/plugin.ts'
import type { OpenBao } from '../../test/harness/vault/openbao.ts'
import { AUTH_MOUNT, IMPORT, IMPORT_NAME } from '../fixtures.ts'
import type { Output } from '../output.ts'

/** Starts the plugin as a process, with the import in a directory in `folder`. */
export async function startPluginWithImport(
  output: Output,
  cleanups: Cleanups,
  { folder, vault }: { folder: string; vault: OpenBao },
): Promise<Plugin> {
  output.title('The plugin')
  const imports = join(folder, 'imports')
  mkdirSync(imports)
  writeFileSync(join(imports, `${IMPORT_NAME}.yaml`), `${IMPORT}  authMethod: jwt\n`)
  output.step('the import, as an app team writes it:')
  output.show(IMPORT)
  const plugin = await startPlugin({
    endpoint: `unix://${join(folder, 'csi.sock')}`,
    args: [
      '--node-id=demo-node',
      `--imports=dir:${imports}`,
      `--state-dir=${join(folder, 'state')}`,
      `--vault-addr=${vault.address}`,
      `--vault-auth-path=${AUTH_MOUNT}`,
      '--rotation-interval=2s',
      '--min-refresh-interval=1s',
      '--http-addr=off',
      '--log-format=json',
    ],
  })
  cleanups.add(() => plugin.stop())
  output.done(`vault-files-csi is ready after ${Math.round(plugin.readyMs)} ms, pid ${plugin.process.pid}`)
  return plugin
}
