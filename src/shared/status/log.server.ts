import { createRequire } from 'node:module'
import type { pino } from 'pino'
import { type Log, silentLog } from '../core/log.ts'

/** From talkative to quiet. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const

/** Log lines kept while standard error cannot be written, in bytes; further ones are lost. */
export const MAX_UNWRITTEN_LOG_BYTES = 1_048_576

export type LogLevel = (typeof LOG_LEVELS)[number]

/**
 * Structured lines on stderr, one JSON object each: `level`, `time` (ISO 8601), `name`, the fields, and `event`.
 * Written synchronously, so that the last words before an exit are not lost. `error` and `err` fields keep their stack.
 */
export function createLog({ level, name }: { level: LogLevel; name: string }): Log {
  if (level === 'silent') return silentLog
  let logger: pino.Logger | undefined
  // pino takes 40 ms to load: a node that has nothing to say does not pay for it.
  const write = (at: Exclude<LogLevel, 'silent'>) => (fields: object, event: string) => {
    if (LOG_LEVELS.indexOf(at) < LOG_LEVELS.indexOf(level)) return
    logger ??= openLogger(level, name)
    logger[at](fields, event)
  }
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
}

function openLogger(level: LogLevel, name: string): pino.Logger {
  const create = createRequire(import.meta.url)('pino') as typeof pino
  const destination = create.destination({ fd: 2, sync: true, maxLength: MAX_UNWRITTEN_LOG_BYTES })
  destination.on('error', () => undefined) // e.g. a full disk: a node goes on without its log
  return create(
    {
      level,
      base: { name },
      messageKey: 'event',
      timestamp: create.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      serializers: { error: create.stdSerializers.err, err: create.stdSerializers.err }
    },
    destination
  )
}
