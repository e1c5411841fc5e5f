import * as z from 'zod'
import type { KubeClient } from '../../kube/client.ts'
import { get } from './ask.ts'
import { ok, skipped, type Verdict, warn } from './report.ts'

/** kubelets before dial plugins with an authority that Node's HTTP/2 refuses. */
const OLDEST_MINOR = 29

const versionSchema = z.object({ gitVersion: z.string(), major: z.string(), minor: z.string() })

/** Whether the API server answers us, and which one it is. */
export async function checkApiServer(client: KubeClient, signal: AbortSignal): Promise<Verdict> {
  const asked = await get(client, '/version', signal)
  if (asked.state !== 'found') return skipped(`${client.server} answers, but not /version: ${asked.words}`)
  const version = versionSchema.safeParse(asked.body)
  if (!version.success) throw new Error(`${client.server}/version is not that of an API server`)
  const { gitVersion, major, minor } = version.data
  const detail = `${client.server}, ${gitVersion}`
  const isOld = major === '1' && Number.parseInt(minor, 10) < OLDEST_MINOR
  return isOld ? warn(detail, `upgrade to Kubernetes 1.${OLDEST_MINOR} or later`) : ok(detail)
}
