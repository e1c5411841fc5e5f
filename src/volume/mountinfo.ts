/**
 * Mount points and their file system types from the text of /proc/self/mountinfo (proc_pid_mountinfo(5)).
 * Of mounts stacked on one point the last, the visible one, counts.
 */
export function parseMountinfo(text: string): Map<string, string> {
  const mounts = new Map<string, string>()
  for (const line of text.split('\n')) {
    // Optional fields end at a lone hyphen; the type comes right after it.
    const [before, after] = line.split(' - ', 2)
    const mountPoint = before?.split(' ')[4]
    const type = after?.split(' ')[0]
    if (mountPoint && type) mounts.set(unescapeOctal(mountPoint), type)
  }
  return mounts
}

/** The kernel writes space, tab, newline, backslash and # as \ooo. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_whole, digits) => String.fromCharCode(Number.parseInt(digits, 8)))
}
