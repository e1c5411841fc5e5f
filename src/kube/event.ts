import { randomBytes } from 'node:crypto'
import type { Pod } from '../core/ports/pod.ts'

/** Bytes; the API server refuses more. */
const LONGEST_NOTE = 1024
/** Characters of an object's name, less a dot and 16 of our own. */
const LONGEST_NAME = 253 - 17
/** Characters; a longer reportingInstance is refused. */
const LONGEST_INSTANCE = 128

/** One occurrence of an event on a pod. Two with the same key are one event that occurred again. */
export type Notice = {
  pod: Pod
  type: 'Normal' | 'Warning'
  reason: string
  /** The plugin's action, in one word. */
  action: string
  note: string
}

/** The source of the event. */
export type Reporter = { driverName: string; nodeId: string }

export type EventRef = { namespace: string; name: string }

export function noticeKey({ pod, reason, note }: Notice): string {
  return JSON.stringify([pod.uid, reason, note])
}

/** An events.k8s.io/v1 Event, as `kubectl describe pod` shows it at the pod. */
export function toEvent(notice: Notice, reporter: Reporter, at: number): EventRef & { body: object } {
  const { pod, type, reason, action, note } = notice
  const name = `${pod.name.slice(0, LONGEST_NAME).replace(/[-.]+$/, '')}.${randomBytes(8).toString('hex')}`
  const body = {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { namespace: pod.namespace, name },
    eventTime: microTime(at),
    type,
    reason,
    action,
    note: cutToBytes(note, LONGEST_NOTE),
    regarding: { apiVersion: 'v1', kind: 'Pod', namespace: pod.namespace, name: pod.name, uid: pod.uid },
    reportingController: reporter.driverName,
    reportingInstance: reporter.nodeId.slice(0, LONGEST_INSTANCE),
  }
  return { namespace: pod.namespace, name, body }
}

/** The patch with the number of occurrences, the last one at `at`. */
export function toSeries(count: number, at: number): object {
  return { series: { count, lastObservedTime: microTime(at) } }
}

/** The API demands microseconds. */
function microTime(at: number): string {
  return new Date(at).toISOString().replace('Z', '000Z')
}

/** Cuts between characters, with a mark at the cut. */
export function cutToBytes(text: string, limit: number): string {
  if (Buffer.byteLength(text) <= limit) return text
  const mark = '…'
  const kept = Buffer.from(text).subarray(0, limit - Buffer.byteLength(mark))
  // A character cut in two decodes to U+FFFD.
  return `${kept.toString('utf8').replace(/\uFFFD+$/, '')}${mark}`
}
