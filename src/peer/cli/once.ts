import { Ending } from './ending.ts'
import type { Host } from './host.ts'
import type { Printer } from './printer.ts'
import { lineSink, optionsOf, type ProgramOptions, printerOf } from './run.ts'

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
  /** Writes to standard output; resolves when there is room for more, also after what the printer wrote. */
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
  const ending = new Ending(host)
  const options = optionsOf(host, command, ending)
  if (options === undefined) return
  const printer = printerOf(host, options, lineSink(host))
  if (options.json) ending.jsonLines = printer
  const { signal } = ending
  const io: CommandIo = {
    host,
    printer,
    signal,
    write: data => written(host, data, signal),
    say: line => void host.stderr.write(`${line}\n`)
  }
  try {
    ending.finish(await command.run(options, io))
  } catch (thrown) {
    ending.fail(thrown, EXIT_BY_ERROR)
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
