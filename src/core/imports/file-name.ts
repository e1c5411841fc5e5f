export const FILE_NAME = /^[-_a-zA-Z0-9.]+$/
/** NAME_MAX of Linux. */
export const MAX_FILE_NAME_LENGTH = 255

/** Why a text is not valid as a file name, or undefined. `..data` and `..slot-a` are the plugin's. */
export function fileNameFault(name: string): string | undefined {
  if (!FILE_NAME.test(name)) return 'may hold letters, digits, "-", "_" and "." alone'
  if (name === '.' || name.startsWith('..')) return 'must not be "." or begin with ".."'
  return name.length > MAX_FILE_NAME_LENGTH
    ? `must have at most ${MAX_FILE_NAME_LENGTH} characters`
    : undefined
}
