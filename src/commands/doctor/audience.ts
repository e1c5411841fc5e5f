import type { ImportSpec } from '../../core/imports/import.ts'
import { fail, ok, skipped, type Verdict } from './report.ts'

/**
 * The audience of the token that logs in: the import's, else the one that the CSIDriver asks kubelet for.
 * @param ofDriver audiences of the CSIDriver's tokenRequests; undefined when they are not known
 * @returns '' for the API server's own audience
 */
export function checkAudience(
  { audience }: ImportSpec,
  ofDriver: readonly string[] | undefined,
): Verdict<string> {
  if (audience !== undefined) {
    const isPassed = ofDriver?.includes(audience) ?? false
    const how = isPassed ? 'kubelet passes such a token' : 'the plugin asks the API server for such a token'
    return ok(`"${audience}", of the import: ${how}`, audience)
  }
  if (ofDriver === undefined) {
    return skipped('the import names none, and the CSIDriver cannot be read; give --token-file')
  }
  const [only, ...more] = ofDriver
  if (only !== undefined && more.length === 0) return ok(`"${only}", of the CSIDriver's tokenRequests`, only)
  if (ofDriver.includes('')) return ok("the API server's own, of the CSIDriver's tokenRequests", '')
  return fail(
    ofDriver.length === 0
      ? 'the CSIDriver has no tokenRequests, and the import names no audience'
      : `the CSIDriver asks for several (${ofDriver.join(', ')}), and the import does not say which`,
    'set spec.audience of the import, or tokenRequests of the CSIDriver',
  )
}
