/** The name of the errno that an error of a system call carries, such as `ENOENT`; undefined for any other error. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  const code = errorCode(error)
  return code !== undefined && codes.includes(code)
}

/** Runs `work`; undefined when it fails with one of `codes`. @throws any other error of `work` */
export function ignoreCode<Result>(codes: readonly string[], work: () => Result): Result | undefined {
  try {
    return work()
  } catch (error) {
    if (hasCode(error, ...codes)) return undefined
    throw error
  }
}

/** Runs `work`; undefined when it fails in any way. For work whose failure the caller handles by its absence. */
export function ignoreErrors<Result>(work: () => Result): Result | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
