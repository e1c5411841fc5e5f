import { type HostPlugin, startHostPlugin } from './host-plugin.ts'
import { startTeam, type Team } from './team.ts'

/** A real node with the plugin on it as a process of the host, and a team with its Vault. */
export type KubeNode = Team & { plugin: HostPlugin }

/** At the end pods are deleted first, so that the plugin can unpublish them. */
export async function startKubeNode(
  t: { teardown(task: () => Promise<void> | void): void },
  options: {
    /** Imports may name Vault's https address. */
    httpsAllowed?: boolean
    /** More flags of the plugin, and values of the chart that grant what they take. */
    args?: readonly string[]
    values?: readonly string[]
  } = {},
): Promise<KubeNode> {
  const team = await startTeam(t)
  const { address, adminAddress } = team.vault.bao
  const args = [...(options.httpsAllowed ? [`--allow-address=${address}`] : []), ...(options.args ?? [])]
  const { values = [] } = options
  const plugin = await startHostPlugin({ api: team.api, vaultAddr: adminAddress, args, values })
  t.teardown(() => plugin.close())
  t.teardown(async () => {
    if (!plugin.isRunning()) await plugin.start()
    await team.removePods()
  })
  return { ...team, plugin }
}
