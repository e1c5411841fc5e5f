import { readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'

/** What readers must never meet, counted. */
export type Seen = {
  reads: number
  /** Files that are not whole, empty ones among them. */
  torn: number
  /** Files that were not there. */
  missing: number
  /** Sets read within the grace that hold values of several generations. */
  mixed: number
  /** An older generation after a newer one. */
  backwards: number
  /** Words about the first of each. */
  examples: string[]
}

export type SetReader = { stop(): Promise<Seen> }

/** A content that contains its generation and a check that it is whole. */
export function describing(generation: number, bytes: number): string {
  const digits = String(generation).padStart(8, '0')
  return (digits + String(bytes).padStart(8, '0')).padEnd(bytes, digits)
}

/** The generation of a whole content; undefined when it is torn. */
export function generationOf(content: string): number | undefined {
  const generation = Number(content.slice(0, 8))
  return content.length >= 16 && describing(generation, content.length) === content ? generation : undefined
}

/**
 * Reads the files of Live volumes over and over in a thread of its own, by path and as a set through `..data`.
 * @param graceMs a set read in less time than this must be of one generation
 */
export function startSetReader(
  targets: readonly string[],
  names: readonly string[],
  graceMs: number,
): SetReader {
  const program = join(import.meta.dirname, 'set-reader-thread.ts')
  const worker = new Worker(program, { workerData: { targets, names, graceMs } })
  const ended = new Promise<Seen>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  return {
    async stop() {
      worker.postMessage('stop')
      return ended
    },
  }
}

/** The loop of that thread. */
export async function readSets(
  { targets, names, graceMs }: { targets: readonly string[]; names: readonly string[]; graceMs: number },
  isStopped: () => boolean,
): Promise<Seen> {
  const seen: Seen = { reads: 0, torn: 0, missing: 0, mixed: 0, backwards: 0, examples: [] }
  const newest = new Map<string, number>()

  function note(kind: 'torn' | 'missing' | 'mixed' | 'backwards', words: string): void {
    seen[kind] += 1
    if (seen[kind] === 1) seen.examples.push(`${kind}: ${words}`)
  }

  function read(path: string): number | undefined {
    seen.reads += 1
    try {
      const content = readFileSync(path, 'latin1')
      const generation = generationOf(content)
      if (generation === undefined) note('torn', `${path} ${content.length} bytes ${content.slice(0, 32)}`)
      return generation
    } catch (error) {
      note('missing', String(error))
      return undefined
    }
  }

  function readByPath(path: string): void {
    const generation = read(path)
    if (generation === undefined) return
    const before = newest.get(path) ?? 0
    if (generation < before) note('backwards', `${path} ${generation} after ${before}`)
    newest.set(path, generation)
  }

  function readTogether(target: string): void {
    const began = performance.now()
    const slot = join(target, readlinkSync(join(target, '..data')))
    const generations = new Set(names.map((name) => read(join(slot, name))))
    if (generations.size > 1 && performance.now() - began < graceMs) {
      note('mixed', `${target} ${[...generations].join(' ')}`)
    }
  }

  while (!isStopped()) {
    for (const target of targets) {
      for (const name of names) readByPath(join(target, name))
      readTogether(target)
    }
    // Two cores serve the plugin and Vault too.
    await sleep(4)
  }
  return seen
}
