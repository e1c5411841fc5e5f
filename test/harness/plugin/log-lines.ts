/** A line of the plugin's log. */
export type LogLine = { level: string; msg: string; [field: string]: unknown }

/** What a process printed, line by line; text that is not JSON has the level `none`. */
export function parseLog(output: string): LogLine[] {
  return output.split('\n').filter(Boolean).map(parseLine)
}

function parseLine(text: string): LogLine {
  try {
    return JSON.parse(text) as LogLine
  } catch {
    return { level: 'none', msg: text }
  }
}
