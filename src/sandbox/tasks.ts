import { FaultError, toFault } from '../core/faults/fault.ts'
import { createSizeLimit } from '../core/render/size-limit.ts'
import { createTemplates } from '../core/render/template.ts'
import type { PlainFault, RenderTask, Results, Task } from './messages.ts'

// Runs in the sandbox process. Modules are loaded when a task first needs them, before its CPU time is counted.

/** Reported of one manifest. */
const MOST_FAULTS = 100

type Work = () => unknown

/**
 * Loads the modules of a task.
 * @param onStep called at each step with a description
 * @returns the task's work
 */
export async function prepare(task: Task, onStep: (what: string) => void): Promise<Work> {
  switch (task.kind) {
    case 'validate':
      return prepareValidation(task.manifest)
    case 'render':
      return prepareRender(task, onStep)
    case 'parse': {
      const { parseResponse } = await import('../core/json/vault-response.ts')
      return () => parseResponse(Buffer.from(task.bytes).toString('utf8'))
    }
  }
}

/** Loads the modules of all tasks. */
export async function warmUp(): Promise<void> {
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

async function prepareValidation(manifest: unknown): Promise<() => Results['validate']> {
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
      return { faults: [unforeseenFault(error)] }
    }
  }
}

/** The fault of a manifest whose validation throws, without the error's message, which may quote it. */
export function unforeseenFault(error: unknown): string {
  return error instanceof RangeError
    ? 'the manifest: is nested too deep'
    : 'the manifest: cannot be judged, an unforeseen error'
}

async function prepareRender(task: RenderTask, onStep: (what: string) => void): Promise<Work> {
  const { renderFiles } = await import('../core/render/render.ts')
  const templates = createTemplates()
  if (task.spec.files.some(({ template }) => template !== undefined)) templates.load()
  const { spec, answers, vaultAddr, authority, volume } = task
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
