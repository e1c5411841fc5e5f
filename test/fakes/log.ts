import type { Log } from '../../src/core/ports/log.ts'
import { toLoggable } from '../../src/ops/loggable.ts'

export type LogLine = { level: keyof Log; fields: Record<string, unknown>; message: string }

/** Keeps every line, so that a test can look for what is there and for what must not be. */
export class FakeLog implements Log {
  readonly lines: LogLine[] = []

  debug(fields: object, message: string): void {
    this.#keep('debug', fields, message)
  }

  info(fields: object, message: string): void {
    this.#keep('info', fields, message)
  }

  warn(fields: object, message: string): void {
    this.#keep('warn', fields, message)
  }

  error(fields: object, message: string): void {
    this.#keep('error', fields, message)
  }

  /** All lines as they would be printed. */
  get text(): string {
    return this.lines.map((line) => JSON.stringify(toLoggable(line))).join('\n')
  }

  messages(level?: keyof Log): string[] {
    return this.lines
      .filter((line) => level === undefined || line.level === level)
      .map((line) => line.message)
  }

  #keep(level: keyof Log, fields: object, message: string): void {
    this.lines.push({ level, fields: { ...fields }, message })
  }
}
