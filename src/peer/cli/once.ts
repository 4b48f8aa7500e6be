import { MusterError } from '../../shared/core/errors.ts'
import type { Host } from './host.ts'
import { humanPrinter, jsonPrinter, type Printer } from './printer.ts'
import {
  fail,
  finish,
  hasColours,
  lineSink,
  optionsOf,
  type ProgramOptions,
  SAME_KEY_PRESS_MS,
  STOP_LIMIT_MS
} from './run.ts'

/** Exit codes of commands that do one thing and end; everything else is 1, or 2 for a wrong command line. */
export const EXIT = { done: 0, failed: 1, usage: 2, noRecord: 3, unreachable: 4, timedOut: 5, invalid: 6 } as const

const EXIT_BY_ERROR = {
  'key-invalid': EXIT.usage,
  unreachable: EXIT.unreachable,
  'timed-out': EXIT.timedOut,
  'record-invalid': EXIT.invalid
} as const

/** What a command gets to do its work. */
export interface CommandIo {
  readonly host: Host
  readonly printer: Printer
  /** Aborts on SIGINT and SIGTERM, and when nobody reads standard output any more. */
  readonly signal: AbortSignal
  /** Writes to standard output; resolves when there is room for more. */
  write(data: string | Uint8Array): Promise<void>
  /** A line for people, on standard error. */
  say(line: string): void
}

/** A command that does one thing and ends. */
// biome-ignore lint/suspicious/noExplicitAny: each command has options of its own, which it parses itself
export interface Command<Options extends ProgramOptions = any> {
  version(): string
  help(): string
  /** @throws MusterError `options-invalid`, one problem a line. */
  parse(argv: readonly string[], env: NodeJS.ProcessEnv): Options
  /** Does it, and resolves with the exit code. */
  run(options: Options, io: CommandIo): Promise<number>
}

/**
 * Runs the command that the first word names, from its command line to its exit code; false when it names none.
 * A second signal ends the process at once.
 */
export async function runOnce(host: Host, commands: Readonly<Record<string, Command>>): Promise<boolean> {
  const [name = ''] = host.argv
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command !== undefined) await runCommand(host, command)
  return command !== undefined
}

async function runCommand<Options extends ProgramOptions>(host: Host, command: Command<Options>): Promise<void> {
  const options = optionsOf(host, command)
  if (options === undefined) return
  const controller = new AbortController()
  let stoppedAt: number | undefined
  let limit: NodeJS.Timeout | undefined
  const stop = (): void => {
    if (stoppedAt !== undefined) return
    stoppedAt = performance.now()
    controller.abort(new MusterError('aborted'))
    limit = setTimeout(() => host.exit(EXIT.failed), STOP_LIMIT_MS)
  }
  host.onSignal(() => {
    if (stoppedAt === undefined) stop()
    else if (performance.now() - stoppedAt > SAME_KEY_PRESS_MS) host.exit(EXIT.failed)
  })
  host.stdout.on('error', stop)
  const printer = options.json ? jsonPrinter(lineSink(host)) : humanPrinter(lineSink(host), hasColours(host))
  const io: CommandIo = {
    host,
    printer,
    signal: controller.signal,
    write: data => written(host, data, controller.signal),
    say: line => void host.stderr.write(`${line}\n`)
  }
  try {
    finish(host, await command.run(options, io))
  } catch (thrown) {
    fail(host, options.json ? printer : undefined, thrown, EXIT_BY_ERROR)
  } finally {
    clearTimeout(limit)
  }
}

async function written({ stdout }: Host, data: string | Uint8Array, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  if (stdout.write(data)) return
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onAbort = (): void => reject(signal.reason)
  stdout.once('drain', resolve)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await promise
  } finally {
    stdout.off('drain', resolve)
    signal.removeEventListener('abort', onAbort)
  }
}
