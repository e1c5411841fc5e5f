import type { FaultError } from '../../src/core/faults/fault.ts'
import type { Notifier } from '../../src/core/ports/kubernetes.ts'
import type { Pod } from '../../src/core/ports/pod.ts'

/** Records the events of pods. */
export class FakeNotifier implements Notifier {
  readonly events: string[] = []

  failed(pod: Pod, _importName: string, error: FaultError): void {
    this.events.push(`${pod.name} failed ${error.fault}`)
  }

  recovered(pod: Pod): void {
    this.events.push(`${pod.name} recovered`)
  }

  rotated(pod: Pod, _importName: string, files: readonly string[]): void {
    this.events.push(`${pod.name} rotated ${files.join(',')}`)
  }
}
