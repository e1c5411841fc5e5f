import { spawnSync } from 'node:child_process'

/**
 * .taprc takes tap's TypeScript plugin out; the first run after `npm ci` builds tap's test class accordingly, but has
 * loaded the plugin by then, and every file fails. Hence it is built beforehand.
 */
export function buildTap(): void {
  const { stdout } = spawnSync('tap', ['versions'], { encoding: 'utf8' })
  if (stdout?.includes('@tapjs/typescript')) spawnSync('tap', ['build'], { stdio: 'inherit' })
}
