import { FaultError } from '../core/faults/fault.ts'
import { type ImportSpec, parseImport } from '../core/imports/import.ts'
import { needsOf } from '../core/imports/needs.ts'
import { sizeOf } from '../core/json/value.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Sandbox } from '../core/ports/sandbox.ts'
import type { VolumeShape } from '../core/ports/volume.ts'
import type { Answers } from '../core/render/answers.ts'
import { renderFiles } from '../core/render/render.ts'
import { createSizeLimit } from '../core/render/size-limit.ts'
import { SecretBytes } from '../core/secret.ts'
import { type Helper, startHelper } from './helper.ts'
import { plainFault, unjudged } from './jobs.ts'
import type { PlainAnswer, RenderJob } from './messages.ts'
import { isPlainManifest, isPlainRender, MOST_VALUES } from './plain-work.ts'
import { createRunner } from './runner.ts'
import { createTurns } from './turns.ts'

/** What others wait for at most, together with the start of a new process. */
const JUDGE = { cpuMs: 200, what: 'judging it' }
const RENDER = { cpuMs: 250, what: 'making its files' }
const PARSE = { cpuMs: 250, what: "reading Vault's answer" }

/**
 * Plain work on the spot, everything else in a process of its own: whatever memory it takes, it is that process that
 * dies. A worker thread would not do, for V8 ends the whole process when memory runs out within some of its functions,
 * and what a thread took is hardly given back.
 */
export function createSandbox(deps: { clock: Clock; start?: () => Helper }): Sandbox {
  const { clock, start = () => startHelper() } = deps
  const turns = createTurns()
  const runner = createRunner({ clock, start })

  return {
    async validateImport(manifest, namespace, signal) {
      signal.throwIfAborted()
      const job = { kind: 'judge', manifest } as const
      try {
        if (isPlainManifest(manifest)) return parseImport(manifest)
        return await turns.run(namespace, signal, (onLong) => runner.run(job, JUDGE, onLong))
      } catch (error) {
        if (error instanceof FaultError || signal.aborted) throw error
        // Judging went wrong, or it could not even be sent: its own fault.
        return { faults: [unjudged(error)] }
      }
    },

    async render(spec, answers, volume, signal) {
      signal.throwIfAborted()
      const job = toJob(spec, answers, volume)
      const size = valuesSize(job)
      if (isPlainRender(spec, size)) {
        return renderFiles(spec, answers, volume.gid, { sizeLimit: createSizeLimit(volume) })
      }
      if (size > MOST_VALUES) {
        const reason = `the secrets it names have ${size} characters, and ${MOST_VALUES} are taken`
        throw new FaultError('import_too_large', { reason })
      }
      const files = await turns.run(spec.namespace, signal, (onLong) => runner.run(job, RENDER, onLong))
      return files.map(({ name, mode, content }) => ({ name, mode, content: toSecret(content) }))
    },

    parseResponse(bytes, namespace, signal) {
      return turns.run(namespace, signal, (onLong) => runner.run({ kind: 'parse', bytes }, PARSE, onLong))
    },

    close: () => runner.close(),
  }
}

function toJob(spec: ImportSpec, { of, vaultAddr, authority }: Answers, volume: VolumeShape): RenderJob {
  const { reads, issueRequests } = needsOf(spec, () => false)
  const answers = new Map<string, PlainAnswer>()
  for (const { key } of [...reads, ...issueRequests]) {
    const answer = of(key)
    if (answer instanceof FaultError) answers.set(key, plainFault(answer))
    else answers.set(key, { values: answer.values, version: answer.version })
  }
  return { kind: 'render', spec, answers, vaultAddr, authority, volume }
}

/** Characters of all values. */
function valuesSize({ answers }: RenderJob): number {
  let size = 0
  for (const answer of answers.values()) if ('values' in answer) size += sizeOf(answer.values)
  return size
}

/** A copy: what came is a view into the message with the contents of all files. */
function toSecret(content: Uint8Array): SecretBytes {
  return new SecretBytes(Buffer.from(content))
}
