import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

type Collect = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void

/**
 * Gives back what loading the program left: sources, byte code that ran once, half-empty pages. V8 does this only
 * when memory runs short, which on a node means that other pods' does. Takes 50 ms and frees 6 MiB of 87.
 */
export function compactHeap(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as Collect
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}
