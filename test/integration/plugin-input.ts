import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import t from 'tap'
import { KubeletError, publishRequest } from '../harness/kubelet/kubelet.ts'
import { podVolume } from '../harness/kubelet/pod-volume.ts'
import type { LogLine } from '../harness/plugin/log-lines.ts'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'

// Bad settings, bad manifests, bad requests: each gets a clear error, and nothing is lost.

const folder = mkdtempSync(join(tmpdir(), 'vault-files-input-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

/** Runs the program to its end. */
async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const program = resolve(import.meta.dirname, '../../src/main.ts')
  const child = spawn(process.execPath, [program, ...args], { env: { ...process.env, ...env } })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  child.stderr.on('data', (chunk) => {
    output += chunk
  })
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, output }
}

t.test('settings', async (t) => {
  await t.test('bad ones end the program with 2, all reported at once, each by its name', async (t) => {
    const file = join(folder, 'settings.yaml')
    writeFileSync(file, 'vault-qps: many\nno-such-setting: 1\n')
    const { code, output } = await run(
      [
        '--endpoint=tcp://127.0.0.1:1',
        '--imports=somewhere',
        '--vault-addr=vault:8200',
        '--max-volume-bytes=lots',
        '--rotation-intervall=2m',
        `--config=${file}`,
      ],
      { VAULT_FILES_LOG_LEVEL: 'loud', VAULT_FILES_MIN_REFRESH_INTERVAL: 'soon', NODE_NAME: '' },
    )
    t.equal(code, 2)
    const wanted = [
      /--endpoint: must be unix:/,
      /--node-id: required/,
      /--imports: must be kube or dir:PATH, is "somewhere"/,
      /--vault-addr: must be http/,
      /--max-volume-bytes: must be a size/,
      /unknown flag "--rotation-intervall", did you mean --rotation-interval\?/,
      /--vault-qps \(from .*settings\.yaml\): must be a whole number above 0, is "many"/,
      /unknown setting "no-such-setting"/,
      /VAULT_FILES_LOG_LEVEL.*: must be trace or debug or info or warn or error, is "loud"/,
      /VAULT_FILES_MIN_REFRESH_INTERVAL.*: must be a duration/,
    ]
    for (const line of wanted) t.match(output, line)
    t.equal(
      output.trim().split('\n').length,
      wanted.length + 1,
      `a line for each and one for --help:\n${output}`,
    )
  })

  await t.test('--help shows every setting, --version the version', async (t) => {
    const help = await run(['--help'])
    t.equal(help.code, 0)
    for (const flag of [
      '--endpoint',
      '--vault-addr',
      '--rotation-interval',
      '--allow-http',
      '--log-format',
    ]) {
      t.ok(help.output.includes(flag), flag)
    }
    const version = await run(['--version'])
    t.equal(version.code, 0)
    t.match(version.output, /^\d+\.\d+\.\d+\n$/)
  })

  await t.test('faults found only at start are logged, with exit code 1', async (t) => {
    const good = ['--node-id=n', '--http-addr=off', '--log-format=json', `--state-dir=${folder}/state`]
    mkdirSync(join(folder, 'imports'), { recursive: true })
    const cases = [
      {
        args: [`--endpoint=unix://${folder}/csi.sock`, `--imports=dir:${folder}/missing`],
        says: /missing: ENOENT/,
      },
      {
        args: [`--endpoint=unix://${folder}/no/such/csi.sock`, `--imports=dir:${folder}/imports`],
        says: /directory of socket .*no.such.csi\.sock.* does not exist/,
      },
      {
        args: [
          `--endpoint=unix://${folder}/csi.sock`,
          `--imports=dir:${folder}/imports`,
          `--vault-ca-cert=${folder}/missing.pem`,
        ],
        says: /missing\.pem/,
      },
    ]
    for (const { args, says } of cases) {
      const { code, output } = await run([...good, ...args])
      t.equal(code, 1, output)
      t.match(output, says)
      t.match(output, /"level":"error"/)
    }
  })
})

t.test('manifests and requests', async (t) => {
  const node = await startRealNode(t)
  const { kubelet, vault } = node
  await vault.put('app', { password: 'first', user: 'x' })
  const files = [{ name: 'db-password', source: { path: 'secret/data/app', key: 'password' } }]
  const spec = { role: 'app', refreshInterval: '200ms', files }
  const faulty = (file: string) => (line: LogLine) =>
    line.msg === 'faulty import manifest' && line.file === file

  await t.test('a bad manifest is reported by file and field, and the last good one stays', async (t) => {
    await node.writeImport('app', spec)
    const volume = await node.publish({ importName: 'app' })
    const bad = {
      apiVersion: 'deckhouse.io/v1alpha1',
      kind: 'SecretsStoreImport',
      metadata: { name: 'app', namespace: 'shop' },
      spec: {
        rolle: 'app',
        updateMode: 'Sometimes',
        files: [
          { name: '../escape', source: { path: 'a', key: 'b', keys: 1 } },
          { name: 'x', mode: 644 },
        ],
      },
    }
    node.writeImportFile('app.json', JSON.stringify(bad))
    const { faults } = await until('the fault', () => node.log().find(faulty('app.json')))
    for (const field of [
      'spec.role: required',
      'spec.rolle: unknown field',
      'spec.updateMode',
      'spec.files[0].name',
      'spec.files[0].source.keys: unknown field',
      'spec.files[1].source: required',
      'spec.files[1].mode',
    ]) {
      t.ok(
        (faults as string[]).some((fault) => fault.includes(field)),
        `${field} in ${faults}`,
      )
    }
    await vault.put('app', { password: 'second', user: 'x' })
    await until('the file to go on rotating', () => volume.read('db-password') === 'second')
    await node.republish(volume)
    const fresh = await node.publish({ importName: 'app' })
    t.equal(fresh.read('db-password'), 'second', 'new pods are served as well')

    node.writeImportFile('app.json', '{ this is: [no yaml')
    await until('the second fault', () => node.log().filter(faulty('app.json')).length > 1)
    await vault.put('app', { password: 'third', user: 'x' })
    await until('the file to go on rotating', () => volume.read('db-password') === 'third')
    await node.unpublish(volume)
    await node.unpublish(fresh)
  })

  await t.test('a manifest that was never good is reported to the pod', async (t) => {
    node.writeImportFile(
      'bad.yaml',
      'apiVersion: deckhouse.io/v1alpha1\nkind: SecretsStoreImport\nmetadata: { name: bad, namespace: shop }\nspec: { role: app }\n',
    )
    await until('the fault', () => node.log().find(faulty('bad.yaml')))
    const error = await node.refusal({ importName: 'bad' })
    t.equal(error.code, 'INVALID_ARGUMENT')
    t.match(
      error.details,
      /SecretsStoreImport "bad" in namespace "shop" is not valid: spec\.files: may be empty only/,
    )
    node.writeImportFile('bad.yaml', undefined)
  })

  await t.test('unknown fields are refused, not ignored', async (t) => {
    const text = { role: 'app', files: [{ ...files[0], templates: 'x' }], secretSyncs: [] }
    node.writeImportFile(
      'later.json',
      JSON.stringify({
        apiVersion: 'deckhouse.io/v1alpha1',
        kind: 'SecretsStoreImport',
        metadata: { name: 'later', namespace: 'shop' },
        spec: text,
      }),
    )
    const { faults } = await until('the fault', () => node.log().find(faulty('later.json')))
    t.match(String(faults), /spec\.secretSyncs: unknown field, did you mean secretSync\?/)
    t.match(String(faults), /spec\.files\[0\]\.templates: unknown field, did you mean template\?/)
    node.writeImportFile('later.json', undefined)
  })

  await t.test('a bad request is refused with what is wrong, and leaves nothing', async (t) => {
    const { args, target } = podVolume(node.folder, vault.issuer, { importName: 'app' })
    const good = publishRequest(args)
    const { volume_context: context } = good
    const cases: { change: object; says: RegExp }[] = [
      { change: { volume_id: '', target_path: '' }, says: /volume_id is missing/ },
      { change: { target_path: '' }, says: /target_path is missing/ },
      { change: { target_path: 'relative' }, says: /"relative" is not absolute/ },
      { change: { target_path: '/tmp/../etc' }, says: /must not hold "\." or "\.\."/ },
      { change: { target_path: '/' }, says: /must not be the root/ },
      { change: { volume_capability: null }, says: /volume_capability is missing/ },
      {
        change: { volume_capability: { block: {}, access_mode: { mode: 'SINGLE_NODE_WRITER' } } },
        says: /block volumes are not served/,
      },
      { change: { volume_capability: { mount: {} } }, says: /access_mode is missing/ },
      {
        change: {
          volume_capability: {
            mount: { volume_mount_group: 'staff' },
            access_mode: { mode: 'SINGLE_NODE_WRITER' },
          },
        },
        says: /volume_mount_group "staff" is not a group id/,
      },
      {
        change: { volume_context: { ...context, secretsStoreImport: 'office/app' } },
        says: /"office\/app" names another namespace/,
      },
      {
        change: { volume_context: { ...context, secretsStoreImport: '' } },
        says: /secretsStoreImport is missing/,
      },
      {
        change: { volume_context: { ...context, color: 'red', size: 'xl' } },
        says: /unknown volumeAttributes "color", "size": known is only secretsStoreImport/,
      },
      { change: { volume_context: { secretsStoreImport: 'app' } }, says: /podInfoOnMount: true/ },
      {
        change: { volume_context: { ...context, 'csi.storage.k8s.io/ephemeral': 'false' } },
        says: /persistent volumes are not served/,
      },
      {
        change: { volume_context: { ...context, 'csi.storage.k8s.io/serviceAccount.tokens': '{canary' } },
        says: /serviceAccount\.tokens/,
      },
    ]
    for (const { change, says } of cases) {
      const error = await kubelet.raw('NodePublishVolume', { ...good, ...change }).catch((error) => error)
      t.ok(error instanceof KubeletError, JSON.stringify(change))
      t.equal(error.code, 'INVALID_ARGUMENT')
      t.match(error.details, says)
      t.notMatch(error.details, /canary|eyJ/)
    }
    t.equal(node.leftovers(target), '')
    for (const request of [
      { volume_id: '', target_path: target },
      { volume_id: 'x', target_path: '' },
    ]) {
      await t.rejects(kubelet.raw('NodeUnpublishVolume', request), { code: 'INVALID_ARGUMENT' })
    }
    await t.rejects(kubelet.raw('NodeGetVolumeStats', { volume_id: 'x', volume_path: '' }), {
      code: 'INVALID_ARGUMENT',
    })
    t.ok(await kubelet.probe(), 'and the plugin goes on')
  })

  await t.test('a target whose parent is not there fails and leaves nothing', async (t) => {
    const { args } = podVolume(node.folder, vault.issuer, { importName: 'app' })
    const targetPath = join(node.folder, 'no/such/parent/mount')
    await t.rejects(kubelet.nodePublish({ ...args, targetPath }), {
      code: 'INTERNAL',
      details: /no\/such\/parent\/mount: ENOENT/,
    })
    t.equal(node.leftovers(targetPath), '')
  })
})
