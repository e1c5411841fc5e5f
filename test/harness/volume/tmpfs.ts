import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createRootAttribute } from '../../../src/volume/lease-store.ts'
import { createMounter } from '../../../src/volume/mount.ts'

const MOUNTER = createMounter()

/** Whether this process may mount: root, or root of its own user namespace. */
export function mayMount(): boolean {
  const path = mkdtempSync(join(tmpdir(), 'vault-files-probe-'))
  try {
    MOUNTER.mount(path, { sizeBytes: 4096, gid: undefined })
    MOUNTER.unmount(path)
    return true
  } catch {
    return false
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
}

/** Why the kernel keeps no trusted attribute for this process, to name what is skipped; undefined when it does. */
export function attributesRefused(): string | undefined {
  const refused = 'trusted attributes need root outside of any user namespace'
  if (!mayMount()) return refused
  const path = mkdtempSync(join(tmpdir(), 'vault-files-probe-'))
  MOUNTER.mount(path, { sizeBytes: 4096, gid: undefined })
  try {
    createRootAttribute().set(path, Buffer.of(1))
    return undefined
  } catch {
    return refused
  } finally {
    MOUNTER.unmount(path)
    rmSync(path, { recursive: true, force: true })
  }
}

type Owner = { teardown(after: () => void): void }

/** A mounted volume in a directory of its own; gone after the test. */
export function mountedVolume(t: Owner, options: { sizeBytes?: number; gid?: number } = {}): string {
  const parent = mkdtempSync(join(tmpdir(), 'vault-files-tmpfs-'))
  const target = join(parent, 'mount')
  MOUNTER.mount(target, { sizeBytes: options.sizeBytes ?? 4 << 20, gid: options.gid })
  t.teardown(() => {
    MOUNTER.unmount(target)
    rmSync(parent, { recursive: true, force: true })
  })
  return target
}

/** A bind mount of one file, resolved first: what kubelet makes of a container's subPath. */
export function bindFile(t: Owner, file: string): string {
  const parent = mkdtempSync(join(tmpdir(), 'vault-files-bind-'))
  const bound = join(parent, 'bound')
  writeFileSync(bound, '')
  execFileSync('mount', ['--bind', file, bound])
  t.teardown(() => {
    execFileSync('umount', [bound])
    rmSync(parent, { recursive: true, force: true })
  })
  return bound
}
