import type { Facts, Fault } from '../core/faults/facts.ts'
import type { ImportSpec, ParsedImport } from '../core/imports/import.ts'
import type { ParsedResponse } from '../core/json/vault-response.ts'
import type { SecretData } from '../core/ports/vault.ts'
import type { VolumeShape } from '../core/ports/volume.ts'

// Messages between the plugin and a sandbox process, by structured clone: plain objects, maps and bytes.

export type PlainFault = { fault: Fault; facts: Facts }
export type PlainAnswer = Pick<SecretData, 'values' | 'version'> | PlainFault
export type PlainFile = { name: string; mode: number; content: Uint8Array }

export type RenderTask = {
  kind: 'render'
  spec: ImportSpec
  /** By the key of each call and issue request. */
  answers: ReadonlyMap<string, PlainAnswer>
  vaultAddr: string
  authority: string | undefined
  volume: VolumeShape
}

export type Task = { kind: 'validate'; manifest: unknown } | RenderTask | { kind: 'parse'; bytes: Uint8Array }

/** Makes the process load the modules of all tasks. It sends no report. */
export type WarmUp = { kind: 'warm-up' }

export type Results = {
  validate: ParsedImport
  render: PlainFile[]
  parse: ParsedResponse | undefined
}

/** From the sandbox process. */
export type Report =
  /** All modules are loaded, the task begins. `cpuMs`: CPU time of the process until now. */
  | { kind: 'begun'; cpuMs: number }
  /** The step that begins now. */
  | { kind: 'step'; what: string }
  | { kind: 'done'; result: unknown; rssBytes: number }
  | { kind: 'failed'; fault: PlainFault; rssBytes: number }
