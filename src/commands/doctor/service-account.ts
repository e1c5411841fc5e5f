import { readFileSync } from 'node:fs'
import * as z from 'zod'
import type { ImportSpec } from '../../core/imports/import.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { ServiceAccountToken } from '../../core/ports/pod.ts'
import { SecretText } from '../../core/secret.ts'
import type { KubeClient } from '../../kube/client.ts'
import { get, query } from './api-server.ts'
import { fail, ok, skipped, type Verdict } from './report.ts'

/** The shortest that the API server grants. */
const TOKEN_LIFETIME_SECONDS = 600

/** The service account that logs in. */
export type Account = { namespace: string; name: string }

const tokenSchema = z.object({
  status: z.object({ token: z.string().min(1), expirationTimestamp: z.iso.datetime({ offset: true }) }),
})

const claimsSchema = z.object({ exp: z.number(), sub: z.string() })

/** Whether the account exists. */
export async function checkServiceAccount(
  client: KubeClient,
  account: Account,
  signal: AbortSignal,
): Promise<Verdict> {
  const result = await get(client, pathOf(account), signal)
  const shown = `${account.namespace}/${account.name}`
  if (result.state === 'found') return ok(shown)
  if (result.state === 'denied') return skipped(`you may not read ${shown}: ${result.reason}`)
  return fail(
    `${shown} does not exist`,
    `kubectl -n ${account.namespace} create serviceaccount ${account.name}, or name the one of the pod (spec.serviceAccountName)`,
  )
}

/** A token of the account, for ten minutes and not bound to a pod. */
export async function requestToken(
  client: KubeClient,
  account: Account,
  audience: string,
  signal: AbortSignal,
): Promise<Verdict<ServiceAccountToken>> {
  const body = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { audiences: audience === '' ? [] : [audience], expirationSeconds: TOKEN_LIFETIME_SECONDS },
  }
  const result = await query(client, { method: 'POST', path: `${pathOf(account)}/token`, body }, signal)
  if (result.state === 'missing') return fail(result.reason, 'check the service account')
  if (result.state === 'denied') {
    return skipped(`you may not create serviceaccounts/token; give --token-file (${result.reason})`)
  }
  const { token, expirationTimestamp } = tokenSchema.parse(result.body).status
  const expiresAt = Date.parse(expirationTimestamp)
  return ok(`for ${account.namespace}/${account.name}, until ${expirationTimestamp}, not bound to a pod`, {
    token: new SecretText(token),
    expiresAt,
  })
}

/** The token in a file, and the service account that it names. The contents are never printed. */
export function readTokenFile(
  path: string,
  clock: Pick<Clock, 'now'>,
): Verdict<{ token: ServiceAccountToken; account: Account | undefined }> {
  const text = readFileSync(path, 'utf8').trim()
  const claims = claimsOf(text)
  if (claims === undefined) {
    return fail(`${path} holds no service-account token`, 'write one: kubectl create token NAME > FILE')
  }
  const expiresAt = claims.exp * 1000
  const until = new Date(expiresAt).toISOString()
  if (expiresAt <= clock.now()) return fail(`the token in ${path} expired at ${until}`, 'write a new one')
  const [, , namespace, name] = claims.sub.split(':')
  const account = namespace && name ? { namespace, name } : undefined
  return ok(`${path}, for ${claims.sub}, until ${until}`, {
    token: { token: new SecretText(text), expiresAt },
    account,
  })
}

function claimsOf(token: string): z.output<typeof claimsSchema> | undefined {
  try {
    const text = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')
    return claimsSchema.safeParse(JSON.parse(text)).data
  } catch {
    // The SyntaxError quotes the text, which may be a secret: do not pass it on.
    return undefined
  }
}

function pathOf({ namespace, name }: Account): string {
  return `/api/v1/namespaces/${encodeURIComponent(namespace)}/serviceaccounts/${encodeURIComponent(name)}`
}

/**
 * The audience of the token that logs in: the import's, else the one in the CSIDriver's tokenRequests.
 * @param driverAudiences audiences of the CSIDriver's tokenRequests; undefined when not known
 * @returns '' for the API server's own audience
 */
export function checkAudience(
  { audience }: ImportSpec,
  driverAudiences: readonly string[] | undefined,
): Verdict<string> {
  if (audience !== undefined) {
    const isPassed = driverAudiences?.includes(audience) ?? false
    const how = isPassed
      ? 'kubelet passes such a token'
      : 'the plugin requests such a token from the API server'
    return ok(`"${audience}", from the import: ${how}`, audience)
  }
  if (driverAudiences === undefined) {
    return skipped('the import sets none, and the CSIDriver cannot be read; give --token-file')
  }
  const [only, ...more] = driverAudiences
  if (only !== undefined && more.length === 0)
    return ok(`"${only}", from the CSIDriver's tokenRequests`, only)
  if (driverAudiences.includes('')) return ok("the API server's own, from the CSIDriver's tokenRequests", '')
  return fail(
    driverAudiences.length === 0
      ? 'the CSIDriver has no tokenRequests, and the import sets no audience'
      : `the CSIDriver requests several (${driverAudiences.join(', ')}), and the import does not say which`,
    'set spec.audience of the import, or tokenRequests of the CSIDriver',
  )
}
