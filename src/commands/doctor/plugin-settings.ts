import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { certificatesFault } from '../../core/pem.ts'
import type { Config } from '../../core/settings/config.ts'
import { type ParsedConfig, parseConfig } from '../../core/settings/parse.ts'
import { readCommandLine } from '../../core/settings/sources.ts'
import { parseYaml, readYamlFile } from '../../files/yaml.ts'
import type { KubeClient } from '../../kube/client.ts'
import { fieldOf } from '../../kube/failure.ts'
import { get } from './api-server.ts'
import type { Plugin } from './plugin.ts'
import { fail, ok, skipped, type Verdict } from './report.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** What this command was called with. */
export type Own = { argv: readonly string[]; env: Environment }

/** No setting that is checked here depends on it. */
const ANY_NODE = { NODE_NAME: 'doctor' }

/** Settings of this command line, of the plugin's process beside which it runs if there is one, and of the environment. */
export function readOwnSettings({ argv, env }: Own, pluginProcess: readonly string[] = []): ParsedConfig {
  return parseConfig({
    argv: [...pluginProcess, ...argv],
    env: { ...ANY_NODE, ...env },
    readFile: readYamlFile,
    isTTY: false,
  })
}

/**
 * The settings with which the plugin runs, where this command line does not say otherwise. The environment of
 * whoever runs the doctor is not the plugin's and does not count.
 */
export async function checkSettings(
  deps: { client: KubeClient; plugin: Plugin; own: Own },
  signal: AbortSignal,
): Promise<Verdict<Config>> {
  const { client, plugin, own } = deps
  const named = readCommandLine([...plugin.args, ...own.argv]).configFile ?? plugin.env.VAULT_FILES_CONFIG
  const file = named === undefined ? undefined : await readMountedFile(client, plugin, named, signal)
  const parsed = parseConfig({
    argv: [...plugin.args, ...own.argv],
    env: { ...ANY_NODE, ...plugin.env },
    readFile: (path) => (file !== undefined && path === named ? contentOf(file.text) : readYamlFile(path)),
    isTTY: false,
  })
  if ('config' in parsed) return ok('those of the DaemonSet', parsed.config)
  const faults = 'faults' in parsed ? parsed.faults.join('; ') : 'it only prints a text and ends'
  return fail(
    `the DaemonSet's settings cannot be taken: ${faults}`,
    'correct its flags; does a doctor of another release read them?',
  )
}

/** The CA that the plugin holds Vault's certificate against. */
export type VaultCa = { pem: string | undefined; source: string }

/** @param deps.cluster undefined: the file stands on this machine */
export async function checkVaultCa(
  deps: {
    config: Config
    /** Of this command line and its environment. */
    own: Config
    cluster: { client: KubeClient; plugin: Plugin } | undefined
  },
  signal: AbortSignal,
): Promise<Verdict<VaultCa>> {
  const { config, own, cluster } = deps
  const path = config.vaultCaCert
  if (path === undefined) {
    const source = "Node's own CAs (no --vault-ca-cert)"
    return ok(source, { pem: undefined, source })
  }
  const isHere = own.vaultCaCert === path || cluster === undefined
  const file = isHere
    ? { text: readFileSync(path, 'utf8'), source: 'a file of this machine' }
    : await readMountedFile(cluster.client, cluster.plugin, path, signal)
  if (file === undefined) {
    return skipped(`${path} of the plugin's pods cannot be read from here; give --vault-ca-cert FILE`)
  }
  const source = `--vault-ca-cert ${path}`
  const fault = certificatesFault(file.text)
  const detail = `${source}, ${file.source}`
  return fault === undefined
    ? ok(detail, { pem: file.text, source })
    : fail(`${detail}: ${fault}`, 'put the PEM of the CA that signs for Vault there')
}

function contentOf(text: string): unknown {
  const [first] = parseYaml(text)
  if (first !== undefined && 'fault' in first) throw new Error(first.fault)
  return first?.value
}

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

/**
 * A file as the plugin's pods see it, when it comes from a ConfigMap.
 * @returns its text and where it stands; undefined when it cannot be had from here
 */
export async function readMountedFile(
  client: KubeClient,
  { namespace, configMaps }: Plugin,
  path: string,
  signal: AbortSignal,
): Promise<{ text: string; source: string } | undefined> {
  for (const { name, mountPath } of configMaps) {
    const folder = join(mountPath, '/')
    if (!path.startsWith(folder)) continue
    const key = path.slice(folder.length)
    const configMap = `/api/v1/namespaces/${encodeURIComponent(namespace)}/configmaps/${encodeURIComponent(name)}`
    const asked = await get(client, configMap, signal)
    const text = asked.state === 'found' ? fieldOf(fieldOf(asked.body, 'data'), key) : undefined
    if (typeof text === 'string') return { text, source: `key ${key} of ConfigMap ${namespace}/${name}` }
  }
  return undefined
}
