import type { Meter } from '../../core/ports/metrics.ts'

/** Nobody reads metrics of a command that ends. */
export const noMeter: Meter = { published() {}, unpublished() {}, refreshed() {}, vaultCall() {}, login() {} }
