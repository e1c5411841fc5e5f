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
import { createLimitedProcesses } from './limited-processes.ts'
import type { PlainAnswer, RenderTask } from './messages.ts'
import { type SandboxProcess, startSandboxProcess } from './sandbox-process.ts'
import { createTaskQueue } from './task-queue.ts'
import { plainFault, unforeseenFault } from './tasks.ts'

/** Budgets: other tenants wait this long at most, plus the start of a process. */
const VALIDATE = { cpuMs: 200, what: 'judging it' }
const RENDER = { cpuMs: 250, what: 'making its files' }
const PARSE = { cpuMs: 250, what: "reading Vault's answer" }

/** Characters of a manifest that takes some tens of milliseconds at worst, when each field is a fault. */
const SMALL_MANIFEST = 8 * 1024
/** Characters of all values of a small render. */
const SMALL_VALUES = 256 * 1024
/** Limit on the characters of all values: several times the size of the largest volumes. */
const MOST_VALUES = 16 << 20

/** Fields whose content is a program, a pattern or a certificate. */
const LONG_FIELDS: ReadonlySet<string> = new Set(['template', 'include', 'exclude', 'caCert'])

/**
 * Runs small tasks without templates, patterns and certificates in our own process, so that most nodes need no other.
 * All others run in a sandbox process: if memory runs out, only that process dies. A worker thread would not do: V8 ends
 * the whole process when memory runs out within some of its functions, and a thread's memory is hardly released.
 */
export function createSandbox(deps: { clock: Clock; start?: () => SandboxProcess }): Sandbox {
  const { clock, start = () => startSandboxProcess() } = deps
  const queue = createTaskQueue()
  const pool = createLimitedProcesses({ clock, start })

  return {
    async validateImport(manifest, namespace, signal) {
      signal.throwIfAborted()
      const task = { kind: 'validate', manifest } as const
      try {
        if (isSmallManifest(manifest)) return parseImport(manifest)
        return await queue.run(namespace, signal, (onLong) => pool.run(task, VALIDATE, onLong))
      } catch (error) {
        if (error instanceof FaultError || signal.aborted) throw error
        // Validation threw, or the manifest could not be sent: a fault of the manifest.
        return { faults: [unforeseenFault(error)] }
      }
    },

    async render(spec, answers, volume, signal) {
      signal.throwIfAborted()
      const task = toTask(spec, answers, volume)
      const size = valuesSize(task)
      if (isSmallRender(spec, size)) {
        return renderFiles(spec, answers, volume.gid, { sizeLimit: createSizeLimit(volume) })
      }
      if (size > MOST_VALUES) {
        const reason = `the secrets it names have ${size} characters, and ${MOST_VALUES} are taken`
        throw new FaultError('import_too_large', { reason })
      }
      const files = await queue.run(spec.namespace, signal, (onLong) => pool.run(task, RENDER, onLong))
      return files.map(({ name, mode, content }) => ({ name, mode, content: toSecret(content) }))
    },

    parseResponse(bytes, namespace, signal) {
      return queue.run(namespace, signal, (onLong) => pool.run({ kind: 'parse', bytes }, PARSE, onLong))
    },

    close: () => pool.close(),
  }
}

function toTask(spec: ImportSpec, { of, vaultAddr, authority }: Answers, volume: VolumeShape): RenderTask {
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
function valuesSize({ answers }: RenderTask): number {
  let size = 0
  for (const answer of answers.values()) if ('values' in answer) size += sizeOf(answer.values)
  return size
}

/** A copy: `content` is a view of the message with the contents of all files. */
function toSecret(content: Uint8Array): SecretBytes {
  return new SecretBytes(Buffer.from(content))
}

/** Stops counting at the limit. */
function isSmallManifest(manifest: unknown): boolean {
  const left: unknown[] = [manifest]
  let size = 0
  while (left.length > 0) {
    const value = left.pop()
    size += typeof value === 'string' ? value.length + 2 : 8
    if (typeof value === 'object' && value !== null) {
      for (const key in value) {
        if (LONG_FIELDS.has(key)) return false
        size += key.length + 4
        if (size > SMALL_MANIFEST) return false
        left.push(Reflect.get(value, key))
      }
    }
    if (size > SMALL_MANIFEST) return false
  }
  return true
}

/** @param size characters of all values that the import uses */
function isSmallRender({ files, dataFrom }: ImportSpec, size: number): boolean {
  const hasTemplate = files.some(({ template }) => template !== undefined)
  const copiesAsIs = ({ include, exclude, format }: ImportSpec['dataFrom'][number]) =>
    include === undefined && exclude === undefined && format === 'Files'
  if (hasTemplate || !dataFrom.every(copiesAsIs)) return false
  // Text is copied unchanged, once, and no more of it than the volume holds.
  return size <= SMALL_VALUES || files.every(({ encoding }) => encoding === 'utf-8')
}
