import type { Name } from './at-calls.ts'

export type Entry = { name: Name; kind: 'file' | 'directory' | 'link' | 'other' }
