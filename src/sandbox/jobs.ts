import { FaultError, toFault } from '../core/faults/fault.ts'
import { createSizeLimit } from '../core/render/size-limit.ts'
import { createTemplates } from '../core/render/template.ts'
import type { Job, PlainFault, RenderJob, Results } from './messages.ts'

// Runs in the sandbox process. Modules are loaded as the first job needs them, and before its clock starts.

/** Of one manifest: nobody reads more. */
const MOST_FAULTS = 100

type Work = () => unknown

/**
 * Loads what a job needs.
 * @param onStep told what is being done
 * @returns the job itself
 */
export async function prepare(job: Job, onStep: (what: string) => void): Promise<Work> {
  switch (job.kind) {
    case 'judge':
      return prepareJudge(job.manifest)
    case 'render':
      return prepareRender(job, onStep)
    case 'parse': {
      const { parseResponse } = await import('../core/json/vault-response.ts')
      return () => parseResponse(Buffer.from(job.bytes).toString('utf8'))
    }
  }
}

/** Loads what any job needs. */
export async function warm(): Promise<void> {
  await Promise.all([
    import('../core/json/vault-response.ts'),
    import('../core/imports/import.ts'),
    import('../core/render/render.ts'),
  ])
  createTemplates().load()
}

export function plainFault(error: unknown): PlainFault {
  const { fault, facts } = toFault(error)
  return { fault, facts }
}

async function prepareJudge(manifest: unknown): Promise<() => Results['judge']> {
  const { parseImport } = await import('../core/imports/import.ts')
  const templates = createTemplates()
  templates.load()
  return () => {
    try {
      const parsed = parseImport(manifest, templates)
      if (!('faults' in parsed) || parsed.faults.length <= MOST_FAULTS) return parsed
      const more = parsed.faults.length - MOST_FAULTS
      return { faults: [...parsed.faults.slice(0, MOST_FAULTS), `and ${more} more faults`] }
    } catch (error) {
      return { faults: [unjudged(error)] }
    }
  }
}

/** Of a manifest that cannot even be judged; without the words of the error, which may quote it. */
export function unjudged(error: unknown): string {
  return error instanceof RangeError
    ? 'the manifest: is nested too deep'
    : 'the manifest: cannot be judged, an unforeseen error'
}

async function prepareRender(job: RenderJob, onStep: (what: string) => void): Promise<Work> {
  const { renderFiles } = await import('../core/render/render.ts')
  const templates = createTemplates()
  if (job.spec.files.some(({ template }) => template !== undefined)) templates.load()
  const { spec, answers, vaultAddr, authority, volume } = job
  const of = (key: string) => {
    const answer = answers.get(key)
    if (answer === undefined) return new FaultError('internal', { reason: `no answer for "${key}"` })
    return 'fault' in answer ? new FaultError(answer.fault, answer.facts) : answer
  }
  const options = { sizeLimit: createSizeLimit(volume), templates, onStep }
  return (): Results['render'] =>
    renderFiles(spec, { of, vaultAddr, authority }, volume.gid, options).map(({ name, mode, content }) => ({
      name,
      mode,
      content: content.reveal(),
    }))
}
