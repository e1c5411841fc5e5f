// In place of the sandbox's program: does as the manifest of a job says.
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
  if (kind === 'warm') return
  tell({ kind: 'begun', cpuMs: process.cpuUsage().user / 1000 })
  tell({ kind: 'step', what: manifest })
  tell({ kind: 'done', result: deeds[manifest]?.(), rssBytes: 1 })
})
process.on('disconnect', () => process.exit(0))
