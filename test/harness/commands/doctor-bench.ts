import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { parseAllDocuments } from 'yaml'
import { ROOT } from '../../../deploy/generate/deploy-files.ts'
import { doctor } from '../../../src/commands/doctor/doctor.ts'
import type { Finding } from '../../../src/commands/doctor/report.ts'
import { FakeKubeApi, type Seen, status } from '../../fakes/kube-api.ts'
import { crdPath } from '../cluster/cluster.ts'
import { realClock } from '../real-clock.ts'

/** Of no plugin that may run on this machine. */
export const DRIVER = 'doctor.csi.example.org'
export const NODE = 'node-1'

export type Diagnosis = {
  code: number
  findings: Finding[]
  /** @throws Error when there is no such finding */
  of(name: string): Finding
  /** All that it printed. */
  text: string
}

// biome-ignore lint/suspicious/noExplicitAny: manifests, which tests change at will
type Manifest = any

/** An API server with the shipped manifests installed and in order; tests break the part whose report they check. */
export type DoctorBench = {
  api: FakeKubeApi
  /** What a GET of this path is answered. */
  objects: Map<string, Manifest>
  csiDriver: Manifest
  crd: Manifest
  daemonSet: Manifest
  csiNode: Manifest
  /** Paths that the doctor may not ask for. */
  denied: Set<string>
  /** `verb resource` that the plugin may not. */
  refused: Set<string>
  /** Runs the doctor with --json and a kubeconfig of the API server. */
  run(argv?: readonly string[], env?: Readonly<Record<string, string>>): Promise<Diagnosis>
}

export async function startDoctorBench(t: Test): Promise<DoctorBench> {
  const api = new FakeKubeApi()
  await api.start()
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-doctor-'))
  t.teardown(async () => {
    rmSync(folder, { recursive: true, force: true })
    await api.stop()
  })
  const kubeconfig = join(folder, 'kubeconfig')
  writeFileSync(kubeconfig, JSON.stringify(kubeconfigOf(api.url)))

  const csiDriver = shipped('3-csidriver.yaml')
  const daemonSet = shipped('6-daemonset.yaml')
  daemonSet.status = { desiredNumberScheduled: 1, numberReady: 1 }
  const [crd] = parse(readFileSync(crdPath, 'utf8'))
  crd.status = { conditions: [{ type: 'Established', status: 'True' }] }
  const csiNode = { metadata: { name: NODE }, spec: { drivers: [{ name: DRIVER }] } }
  const pod = { spec: { nodeName: NODE }, status: { conditions: [{ type: 'Ready', status: 'True' }] } }
  const objects = new Map<string, Manifest>([
    ['/version', { major: '1', minor: '34', gitVersion: 'v1.34.1' }],
    ['/apis/apiextensions.k8s.io/v1/customresourcedefinitions/secretsstoreimports.deckhouse.io', crd],
    [`/apis/storage.k8s.io/v1/csidrivers/${DRIVER}`, csiDriver],
    ['/apis/storage.k8s.io/v1/csinodes', { items: [csiNode] }],
    ['/apis/apps/v1/daemonsets', { items: [daemonSet] }],
    ['/api/v1/namespaces/vault-files-csi/pods', { items: [pod] }],
  ])
  const bench = { api, objects, csiDriver, crd, daemonSet, csiNode, denied: new Set<string>() }
  const refused = new Set<string>()
  api.instead = (seen) => {
    if (bench.denied.has(seen.path)) return status(403, 'Forbidden', `you cannot get ${seen.path}`)
    if (seen.path.endsWith('subjectaccessreviews')) return review(seen, refused)
    const body = objects.get(seen.path)
    return body === undefined ? undefined : { status: seen.method === 'POST' ? 201 : 200, body }
  }
  return {
    ...bench,
    refused,
    run: (argv = [], env = {}) =>
      diagnose([`--driver-name=${DRIVER}`, ...argv], { KUBECONFIG: kubeconfig, ...env }),
  }
}

/** Runs the doctor with --json. */
export async function diagnose(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
  signal = AbortSignal.timeout(30_000),
): Promise<Diagnosis> {
  let text = ''
  let complaints = ''
  const deps = {
    argv: ['--json', ...argv],
    env,
    version: '0.0.0',
    clock: realClock,
    write: (words: string) => {
      text += words
    },
    writeError: (words: string) => {
      complaints += words
    },
  }
  const code = await doctor(deps, signal)
  return diagnosisOf(code, text, complaints)
}

/** @param text standard output, JSON or not */
export function diagnosisOf(code: number, text: string, complaints: string): Diagnosis {
  const findings: Finding[] = text.startsWith('{') ? JSON.parse(text).checks : []
  const of = (name: string) => {
    const found = findings.find((finding) => finding.name === name)
    if (found === undefined) throw new Error(`no finding ${name} in ${text}${complaints}`)
    return found
  }
  return { code, findings, of, text: text + complaints }
}

function shipped(file: string): Manifest {
  const text = readFileSync(join(ROOT, 'deploy/manifests', file), 'utf8')
  return parse(text.replaceAll('secrets-store.csi.deckhouse.io', DRIVER))[0]
}

function parse(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => document.toJS())
}

function review({ body }: Seen, refused: ReadonlySet<string>) {
  const { verb, resource } = (body as Manifest).spec.resourceAttributes
  return { status: 201, body: { status: { allowed: !refused.has(`${verb} ${resource}`) } } }
}

function kubeconfigOf(server: string): object {
  return {
    'current-context': 'test',
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    clusters: [{ name: 'test', cluster: { server } }],
    users: [{ name: 'test', user: { token: 'admin' } }],
  }
}
