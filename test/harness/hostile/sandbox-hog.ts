// Replaces the program of a sandbox process: does what the manifest of a task names.
import { readFileSync } from 'node:fs'

const tell = (told: object) => process.send?.(told)

const deeds: Record<string, () => unknown> = {
  loop: () => {
    for (;;) Math.random()
  },
  // Memory that runs out within one of V8's own functions, which ends a whole process and not a thread.
  eat: () => {
    const kept: string[][] = ['abcdefgh'.repeat(1 << 18).split('')]
    for (;;) kept.push(kept[0]!.slice().sort())
  },
  print: () => {
    console.log('canary')
    console.error('canary')
    return 'printed'
  },
  limits: () => readFileSync('/proc/self/limits', 'utf8'),
  environment: () => ({ ...process.env }),
}

process.on('message', ({ kind, manifest = '' }: { kind: string; manifest?: string }) => {
  if (kind === 'warm-up') return
  tell({ kind: 'begun', cpuMs: process.cpuUsage().user / 1000 })
  tell({ kind: 'step', what: manifest })
  tell({ kind: 'done', result: deeds[manifest]?.(), rssBytes: 1 })
})
process.on('disconnect', () => process.exit(0))
