import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { certificatesFault } from '../../core/pem.ts'
import type { Config } from '../../core/settings/config.ts'
import { type ParsedConfig, parseConfig } from '../../core/settings/parse-config.ts'
import { readCommandLine } from '../../core/settings/sources.ts'
import { parseYaml, readYamlFile } from '../../files/yaml.ts'
import type { KubeClient } from '../../kube/client.ts'
import { fieldOf } from '../../kube/failure.ts'
import { get } from './api-server.ts'
import type { Plugin } from './plugin.ts'
import { fail, ok, skipped, type Verdict } from './report.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Command line and environment of the doctor. */
export type Invocation = { argv: readonly string[]; env: Environment }

/** Required, but no check depends on it. */
const ANY_NODE = { NODE_NAME: 'doctor' }

/** Settings of this command line, of the plugin's process in the same pod if there is one, and of the environment. */
export function readInvocationSettings(
  { argv, env }: Invocation,
  pluginProcess: readonly string[] = [],
): ParsedConfig {
  return parseConfig({
    argv: [...pluginProcess, ...argv],
    env: { ...ANY_NODE, ...env },
    readFile: readYamlFile,
    isTTY: false,
  })
}

/** The plugin's settings, overridden by this command line. The doctor's own environment is not the plugin's and is ignored. */
export async function checkSettings(
  deps: { client: KubeClient; plugin: Plugin; invocation: Invocation },
  signal: AbortSignal,
): Promise<Verdict<Config>> {
  const { client, plugin, invocation } = deps
  const configFile =
    readCommandLine([...plugin.args, ...invocation.argv]).configFile ?? plugin.env.VAULT_FILES_CONFIG
  const file =
    configFile === undefined ? undefined : await readMountedFile(client, plugin, configFile, signal)
  const parsed = parseConfig({
    argv: [...plugin.args, ...invocation.argv],
    env: { ...ANY_NODE, ...plugin.env },
    readFile: (path) =>
      file !== undefined && path === configFile ? contentOf(file.text) : readYamlFile(path),
    isTTY: false,
  })
  if ('config' in parsed) return ok('from the DaemonSet', parsed.config)
  const faults = 'faults' in parsed ? parsed.faults.join('; ') : 'they only print a text and exit'
  return fail(
    `the DaemonSet's settings are not valid: ${faults}`,
    'correct its flags, or run the doctor of the same release as the plugin',
  )
}

/** The CA that the plugin verifies Vault's certificate with. */
export type VaultCa = { pem: string | undefined; source: string }

/** @param deps.cluster undefined: the file is on this machine */
export async function checkVaultCa(
  deps: {
    config: Config
    /** Of this command line and its environment. */
    ownConfig: Config
    cluster: { client: KubeClient; plugin: Plugin } | undefined
  },
  signal: AbortSignal,
): Promise<Verdict<VaultCa>> {
  const { config, ownConfig, cluster } = deps
  const path = config.vaultCaCert
  if (path === undefined) {
    const source = "Node's own CAs (no --vault-ca-cert)"
    return ok(source, { pem: undefined, source })
  }
  const isHere = ownConfig.vaultCaCert === path || cluster === undefined
  const file = isHere
    ? { text: readFileSync(path, 'utf8'), source: 'a file on this machine' }
    : await readMountedFile(cluster.client, cluster.plugin, path, signal)
  if (file === undefined) {
    return skipped(`${path} of the plugin's pods cannot be read from here; give --vault-ca-cert FILE`)
  }
  const source = `--vault-ca-cert ${path}`
  const fault = certificatesFault(file.text)
  const detail = `${source}, ${file.source}`
  return fault === undefined
    ? ok(detail, { pem: file.text, source })
    : fail(`${detail}: ${fault}`, "put the PEM certificates of Vault's CA there")
}

function contentOf(text: string): unknown {
  const [first] = parseYaml(text)
  if (first !== undefined && 'fault' in first) throw new Error(first.fault)
  return first?.value
}

/**
 * Flags of the plugin, which is process 1 in its pod; undefined when the doctor runs anywhere else.
 * @param commandLine of process 1: arguments, each terminated by NUL
 */
export function readPluginProcess(
  env: Readonly<Record<string, string | undefined>>,
  commandLine: () => string = () => readFileSync('/proc/1/cmdline', 'utf8'),
): string[] | undefined {
  if (!env.KUBERNETES_SERVICE_HOST || env.KUBECONFIG) return undefined
  const processArguments = commandLine().split('\0').filter(Boolean)
  const program = processArguments.findIndex((argument) => /\/main\.[jt]s$/.test(argument))
  return program === -1 ? undefined : processArguments.slice(program + 1)
}

/**
 * A file in the plugin's pods that is mounted from a ConfigMap.
 * @returns its text and source; undefined when it cannot be read from here
 */
async function readMountedFile(
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
    const result = await get(client, configMap, signal)
    const text = result.state === 'found' ? fieldOf(fieldOf(result.body, 'data'), key) : undefined
    if (typeof text === 'string') return { text, source: `key ${key} of ConfigMap ${namespace}/${name}` }
  }
  return undefined
}
