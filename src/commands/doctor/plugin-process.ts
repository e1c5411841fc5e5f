import { readFileSync } from 'node:fs'

/**
 * Flags of the plugin when this runs beside it in its pod, where it is process 1; undefined anywhere else.
 * @param commandLine of process 1: words that end with NUL each
 */
export function readPluginProcess(
  env: Readonly<Record<string, string | undefined>>,
  commandLine: () => string = () => readFileSync('/proc/1/cmdline', 'utf8'),
): string[] | undefined {
  if (!env.KUBERNETES_SERVICE_HOST || env.KUBECONFIG) return undefined
  const words = commandLine().split('\0').filter(Boolean)
  const program = words.findIndex((word) => /\/main\.[jt]s$/.test(word))
  return program === -1 ? undefined : words.slice(program + 1)
}
