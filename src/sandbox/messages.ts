import type { Facts, Fault } from '../core/faults/facts.ts'
import type { ImportSpec, ParsedImport } from '../core/imports/import.ts'
import type { ParsedResponse } from '../core/json/vault-response.ts'
import type { SecretData } from '../core/ports/vault.ts'
import type { VolumeShape } from '../core/ports/volume.ts'

// What the plugin and its sandbox process tell each other, by structured clone: plain objects, maps and bytes.

export type PlainFault = { fault: Fault; facts: Facts }
export type PlainAnswer = Pick<SecretData, 'values' | 'version'> | PlainFault
export type PlainFile = { name: string; mode: number; content: Uint8Array }

export type RenderJob = {
  kind: 'render'
  spec: ImportSpec
  /** By the key of each call and order. */
  answers: ReadonlyMap<string, PlainAnswer>
  vaultAddr: string
  authority: string | undefined
  volume: VolumeShape
}

export type Job = { kind: 'judge'; manifest: unknown } | RenderJob | { kind: 'parse'; bytes: Uint8Array }

/** Loads what the jobs need, and tells nothing. */
export type Warm = { kind: 'warm' }

export type Results = {
  judge: ParsedImport
  render: PlainFile[]
  parse: ParsedResponse | undefined
}

/** From the sandbox process. */
export type Told =
  /** All modules are there, the work begins. `cpuMs`: CPU time of the process until now. */
  | { kind: 'begun'; cpuMs: number }
  /** What is being done from now on. */
  | { kind: 'step'; what: string }
  | { kind: 'done'; result: unknown; rssBytes: number }
  | { kind: 'failed'; fault: PlainFault; rssBytes: number }
