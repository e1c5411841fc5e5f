import type { Lease, LeaseStore } from '../core/ports/leases.ts'
import { parseHoldings, serializeHoldings } from './holding-text.ts'
import { createRootAttribute, type RootAttribute } from './root-attribute.ts'
import { newSealKey, seal, unseal } from './seal.ts'
import { ATTRIBUTE_MAX } from './syscalls.ts'

/** Part of what a text is sealed for: another version of ours cannot open it, and issues anew. */
const FORMAT = 'vault-files-csi holdings 1'

/**
 * What is issued to a volume, in an attribute of the volume's own tmpfs: it lives exactly as long as the mount, whatever
 * becomes of our process. The attribute tells nothing without the ledger's key, nor the key without the attribute.
 * @param deps for tests
 */
export function createSafe({
  attribute = createRootAttribute(),
}: {
  attribute?: RootAttribute
} = {}): LeaseStore {
  return {
    newKey: newSealKey,

    put(targetPath, key, holdings) {
      const isKept = succeeds(() => attribute.set(targetPath, lock(targetPath, key, holdings)))
      // What stood there before is no longer true.
      if (!isKept) succeeds(() => attribute.remove(targetPath))
      return isKept
    },

    get(targetPath, key) {
      try {
        const sealed = attribute.get(targetPath)
        return sealed && parseHoldings(unseal(sealed, key, labelOf(targetPath)).toString())
      } catch {
        // Not passed on: a parser's words may quote secrets. Whoever asks issues anew.
        return undefined
      }
    },
  }
}

/** @throws Error when it is larger than an attribute may be */
function lock(targetPath: string, key: string, holdings: readonly Lease[]): Buffer {
  const sealed = seal(Buffer.from(serializeHoldings(holdings)), key, labelOf(targetPath))
  if (sealed.byteLength > ATTRIBUTE_MAX) throw new RangeError('more than one attribute holds')
  return sealed
}

function labelOf(targetPath: string): string {
  return `${FORMAT}\n${targetPath}`
}

function succeeds(task: () => void): boolean {
  try {
    task()
    return true
  } catch {
    return false
  }
}
