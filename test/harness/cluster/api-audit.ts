import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findComponent } from './component.ts'

/** A call that the API server has answered. */
export type AuditedCall = { verb: string; resource: string; at: number }

export type ApiAudit = {
  /** Calls of the audited user so far, oldest first. */
  calls(): AuditedCall[]
  /** Takes the audit off again. */
  close(): Promise<void>
}

export const isWrite = ({ verb }: AuditedCall) => !['get', 'list', 'watch'].includes(verb)

/** Restarts the API server so that it notes every call of `user`. */
export async function auditUser(user: string): Promise<ApiAudit> {
  const apiServer = findComponent('apiserver')
  if (apiServer === undefined) throw new Error('the API server is not ours to restart')
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-audit-'))
  const policy = join(folder, 'policy.json')
  const log = join(folder, 'audit.log')
  writeFileSync(
    policy,
    JSON.stringify({
      apiVersion: 'audit.k8s.io/v1',
      kind: 'Policy',
      // A watch counts from its beginning; otherwise it would be reported at its end.
      omitStages: ['RequestReceived'],
      rules: [{ level: 'Metadata', users: [user] }, { level: 'None' }],
    }),
  )
  const close = async () => {
    await apiServer.stop()
    await apiServer.start()
    rmSync(folder, { recursive: true, force: true })
  }
  await apiServer.stop()
  try {
    await apiServer.start([`--audit-policy-file=${policy}`, `--audit-log-path=${log}`])
  } catch (error) {
    await close()
    throw error
  }
  return {
    close,
    calls() {
      if (!existsSync(log)) return []
      return readFileSync(log, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line))
        .filter(({ stage, verb }) => stage !== 'ResponseStarted' || verb === 'watch')
        .map(({ verb, objectRef, stageTimestamp }) => ({
          verb,
          resource: objectRef?.resource ?? '',
          at: Date.parse(stageTimestamp),
        }))
    },
  }
}
