import vm from 'node:vm'

/**
 * Runs what others wrote, such as a pattern or a template, and ends it by force after `limitMs` wherever it stands:
 * it has the one thread that serves all pods.
 * @returns undefined when it was ended; nothing that it could have left half done may be used again
 * @throws what `run` throws
 */
export function runWithin<T>(limitMs: number, run: () => T): { value: T } | undefined {
  try {
    // The watchdog of a script ends whatever the script has called.
    return { value: vm.runInNewContext('run()', { run }, { timeout: limitMs }) as T }
  } catch (error) {
    if ((error as NodeJS.ErrnoException | undefined)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT')
      return undefined
    throw error
  }
}
