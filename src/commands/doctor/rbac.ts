import * as z from 'zod'
import type { KubeClient } from '../../kube/client.ts'
import { query } from './api-server.ts'
import { fail, ok, skipped, type Verdict, warn } from './report.ts'

/** Whose rights are checked: the plugin's service account, or, in a pod of the plugin, the doctor's own. */
export type Subject = { kind: 'account'; namespace: string; name: string } | { kind: 'self' }

/** A right that an operation of src/kube needs. */
export type Need = {
  name: string
  group: string
  resource: string
  subresource?: string
  verbs: readonly string[]
  /** The effect of its absence. */
  consequence: string
  severity: 'fail' | 'warn'
  /** The chart's value that grants it; undefined: rbac.create. */
  value?: string
}

export const needs = {
  imports: {
    name: 'RBAC imports',
    group: 'deckhouse.io',
    resource: 'secretsstoreimports',
    verbs: ['list', 'watch'],
    consequence: 'the plugin cannot read imports, and every mount fails',
    severity: 'fail',
  },
  importStatus: {
    name: 'RBAC import status',
    group: 'deckhouse.io',
    resource: 'secretsstoreimports',
    subresource: 'status',
    verbs: ['patch'],
    consequence: 'imports do not say whether they are valid (condition Accepted)',
    severity: 'warn',
    value: 'rbac.importStatus=true',
  },
  events: {
    name: 'RBAC events',
    group: 'events.k8s.io',
    resource: 'events',
    verbs: ['create', 'patch'],
    consequence: 'pods get no events about failures after the first mount',
    severity: 'warn',
    value: 'rbac.events=true',
  },
  tokens: {
    name: 'RBAC tokens',
    group: '',
    resource: 'serviceaccounts',
    subresource: 'token',
    verbs: ['create'],
    consequence: 'imports with an audience of their own get no token',
    severity: 'fail',
    value: 'rbac.tokenRequest=true',
  },
  configMaps: {
    name: 'RBAC configmaps',
    group: '',
    resource: 'configmaps',
    verbs: ['get'],
    consequence: 'imports whose caCertRef names a ConfigMap cannot be served',
    severity: 'fail',
    value: 'rbac.configMaps=true',
  },
  secrets: {
    name: 'RBAC secrets',
    group: '',
    resource: 'secrets',
    verbs: ['get'],
    consequence: 'imports whose caCertRef or appRole names a Secret cannot be served',
    severity: 'fail',
    value: 'rbac.secrets=true',
  },
  syncedSecrets: {
    name: 'RBAC synced secrets',
    group: '',
    resource: 'secrets',
    verbs: ['get', 'create', 'patch'],
    consequence: 'imports with secretSync cannot be served',
    severity: 'fail',
    value: 'secretSync.enabled=true',
  },
  pods: {
    name: 'RBAC pods',
    group: '',
    resource: 'pods',
    verbs: ['get'],
    consequence: 'a Secret whose deletionPolicy is Retain is not taken over after its pod is gone',
    severity: 'warn',
    value: 'secretSync.enabled=true',
  },
  nodes: {
    name: 'RBAC nodes',
    group: '',
    resource: 'nodes',
    verbs: ['get', 'patch'],
    consequence: '--remove-startup-taint does not work, and the node stays tainted',
    severity: 'fail',
    value: 'startupTaint',
  },
} as const satisfies Record<string, Need>

const reviewSchema = z.object({ status: z.object({ allowed: z.boolean() }) })

/** Whether the plugin has a right, as the API server's access review answers it. */
export async function checkNeed(
  client: KubeClient,
  subject: Subject,
  need: Need,
  signal: AbortSignal,
): Promise<Verdict> {
  const rights = `${need.verbs.join(' and ')} ${need.resource}${need.subresource ? `/${need.subresource}` : ''}${need.group && `.${need.group}`}`
  const denied: string[] = []
  for (const verb of need.verbs) {
    const result = await review(client, subject, need, verb, signal)
    if (result.state !== 'found')
      return skipped(`you may not check the plugin's rights (create subjectaccessreviews): ${result.reason}`)
    if (!reviewSchema.parse(result.body).status.allowed) denied.push(verb)
  }
  if (denied.length === 0) return ok(`${show(subject)} may ${rights}`)
  const detail = `${show(subject)} may not ${denied.join(' or ')}: ${need.consequence} (needed: ${rights})`
  const fix = `helm upgrade with ${need.value ?? 'rbac.create=true'}, or grant it in your own ClusterRole`
  return need.severity === 'fail' ? fail(detail, fix) : warn(detail, fix)
}

function review(client: KubeClient, subject: Subject, need: Need, verb: string, signal: AbortSignal) {
  const { group, resource, subresource } = need
  const resourceAttributes = { group, resource, verb, ...(subresource ? { subresource } : {}) }
  const isSelf = subject.kind === 'self'
  const kind = isSelf ? 'SelfSubjectAccessReview' : 'SubjectAccessReview'
  const spec = { resourceAttributes, ...(isSelf ? {} : userOf(subject)) }
  const body = { apiVersion: 'authorization.k8s.io/v1', kind, spec }
  const path = `/apis/authorization.k8s.io/v1/${kind.toLowerCase()}s`
  return query(client, { method: 'POST', path, body }, signal)
}

/** The API server's user and groups of a service account. */
function userOf({ namespace, name }: Extract<Subject, { kind: 'account' }>) {
  return {
    user: `system:serviceaccount:${namespace}:${name}`,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
  }
}

function show(subject: Subject): string {
  return subject.kind === 'self' ? 'the plugin' : `service account ${subject.namespace}/${subject.name}`
}
