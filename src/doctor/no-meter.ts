import type { Meter } from '../core/ports.ts'

/** Nobody reads metrics of a command that ends. */
export const noMeter: Meter = { published() {}, unpublished() {}, rotated() {}, vaultCall() {}, login() {} }
