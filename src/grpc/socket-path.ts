import { lstatSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { errorCode, hasCode } from '../core/errno.ts'

/** sun_path holds 108 bytes with its final NUL; a longer path would be truncated silently. */
const MAX_PATH_BYTES = 107

/**
 * The file path in a CSI endpoint.
 * @param endpoint unix:///path, unix:/path or the bare absolute path
 * @throws Error that says what is wrong with the endpoint
 */
export function socketPathOf(endpoint: string): string {
  const path = /^(?:unix:(?:\/\/)?)?(\/[^/].*)$/.exec(endpoint)?.[1]
  if (!path) throw new Error(`endpoint "${endpoint}" is not a unix socket: write unix:///path/csi.sock`)
  const length = Buffer.byteLength(path)
  if (length > MAX_PATH_BYTES) {
    throw new Error(
      `socket path "${path}" has ${length} bytes, the system allows ${MAX_PATH_BYTES}: use a shorter one`,
    )
  }
  return path
}

/**
 * Makes the path free to listen on: removes a socket left by a killed process.
 * @throws Error with the reason: no directory, another kind of file, or a process that listens there
 */
export async function clearSocketPath(path: string): Promise<void> {
  if (!lstatSync(dirname(path), { throwIfNoEntry: false })) {
    throw new Error(`the directory of socket "${path}" does not exist: create it or mount it there`)
  }
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (!found) return
  if (!found.isSocket())
    throw new Error(`"${path}" is there and is no socket: remove it or choose another path`)
  if (await isServed(path)) {
    throw new Error(`another process serves socket "${path}": stop it or choose another path`)
  }
  rmSync(path, { force: true })
}

function isServed(path: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>()
  const probe = connect(path)
  probe.once('connect', () => resolve(true))
  probe.once('error', (error) => {
    // No process listens, or the socket is gone; any other failure (EACCES) is not ours to clear away.
    if (hasCode(error, 'ECONNREFUSED', 'ENOENT')) resolve(false)
    else reject(new Error(`socket "${path}" cannot be checked: ${errorCode(error)}`, { cause: error }))
  })
  return promise.finally(() => probe.destroy())
}
