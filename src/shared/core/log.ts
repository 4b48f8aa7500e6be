/** Where structured log lines go. A line is an event with fields; levels as in pino, which fits this interface. */
export interface Log {
  debug(fields: object, event: string): void
  info(fields: object, event: string): void
  warn(fields: object, event: string): void
  error(fields: object, event: string): void
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }
