import type { FaultError } from '../../src/core/errors.ts'
import type { Notifier, Pod } from '../../src/core/ports.ts'

/** Keeps what a pod's owner was told. */
export class FakeNotifier implements Notifier {
  readonly told: string[] = []

  failed(pod: Pod, _importName: string, error: FaultError): void {
    this.told.push(`${pod.name} failed ${error.fault}`)
  }

  recovered(pod: Pod): void {
    this.told.push(`${pod.name} recovered`)
  }

  rotated(pod: Pod, _importName: string, files: readonly string[]): void {
    this.told.push(`${pod.name} rotated ${files.join(',')}`)
  }
}
