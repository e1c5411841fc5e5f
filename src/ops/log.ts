import pino, { type DestinationStream, type Logger } from 'pino'
import type { Log } from '../core/ports/log.ts'
import type { Config } from '../core/settings/config.ts'
import { toLoggable } from './loggable.ts'

/**
 * Names of fields, the same in all log lines:
 *
 * | field | meaning |
 * |---|---|
 * | level, time, msg | in every line; time is ISO 8601 in UTC, msg a constant text |
 * | error | { fault, message, cause } for errors of ours, { name, code, at } for others |
 * | volumeId, targetPath | of the CSI request |
 * | pod | { namespace, name, uid, serviceAccount } |
 * | importName, namespace | of the SecretsStoreImport |
 * | files | names of the volume's files that changed |
 * | identity | the Vault login: role and service account; no token |
 * | accessor | of a Vault token; identifies it and grants nothing |
 * | file, faults, reason | a file of settings, imports or certificates, and its faults |
 * | path, socket, address | of files, sockets, servers of ours |
 * | staleSeconds, graceMs, … | durations carry their unit in the name |
 */

/**
 * The program's log, written to standard output before the call returns: a crash loses no line.
 * @param destination for tests; standard output when left out
 */
export async function createLog(options: {
  level: Config['logLevel']
  format: Config['logFormat']
  destination?: DestinationStream
}): Promise<Log> {
  const { level, format, destination = pino.destination({ fd: 1, sync: true }) } = options
  const stream = format === 'pretty' ? await prettyOver(destination) : destination
  const logger = pino(
    {
      level,
      base: {},
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  )
  return {
    debug: (fields, message) => write(logger, 'debug', fields, message),
    info: (fields, message) => write(logger, 'info', fields, message),
    warn: (fields, message) => write(logger, 'warn', fields, message),
    error: (fields, message) => write(logger, 'error', fields, message),
  }
}

function write(logger: Logger, level: keyof Log, fields: object, message: string): void {
  if (!logger.isLevelEnabled(level)) return
  logger[level](fields instanceof Error ? { error: toLoggable(fields) } : toLoggable(fields), message)
}

/** Loaded only when needed: in a pod the log is JSON. Uses only the formatter, since pino-pretty's stream writes late. */
async function prettyOver(destination: DestinationStream): Promise<DestinationStream> {
  const { prettyFactory, isColorSupported } = await import('pino-pretty')
  const format = prettyFactory({ colorize: isColorSupported, translateTime: 'HH:MM:ss.l', singleLine: true })
  return { write: (line) => destination.write(format(line)) }
}
