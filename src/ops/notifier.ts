import type { Notifier } from '../core/ports/kubernetes.ts'
import type { Log } from '../core/ports/log.ts'

/** Where there is no API server to write events to: the rotation has logged everything already. */
export function createLogNotifier(log: Log): Notifier {
  return {
    failed: (pod, importName) => log.debug({ pod, importName }, 'no API server: no event for a failure'),
    recovered: (pod, importName) => log.debug({ pod, importName }, 'no API server: no event for a recovery'),
    rotated: (pod, importName) => log.debug({ pod, importName }, 'no API server: no event for a rotation'),
  }
}
