import type { Notifier } from '../core/ports/kubernetes.ts'
import type { Log } from '../core/ports/log.ts'

/** For use without an API server to write events to: the refresh has logged the failure or rotation already. */
export function createLogNotifier(log: Log): Notifier {
  return {
    failed: (pod, importName) => log.debug({ pod, importName }, 'no API server: no event for a failure'),
    recovered: (pod, importName) => log.debug({ pod, importName }, 'no API server: no event for a recovery'),
    rotated: (pod, importName) => log.debug({ pod, importName }, 'no API server: no event for a rotation'),
  }
}
