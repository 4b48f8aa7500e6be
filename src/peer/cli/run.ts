import { isMusterError, MusterError } from '../../shared/core/errors.ts'
import type { Closable } from '../../shared/core/lifecycle.ts'
import { type Console, openConsole } from './console.ts'
import type { Host } from './host.ts'
import { errorLines, humanPrinter, jsonPrinter, type LineSink, type Printer } from './printer.ts'

/** Milliseconds a graceful stop may take; then the process ends with exit code 1. */
export const STOP_LIMIT_MS = 5000

/** npm passes on the signal that the terminal sent to everybody: both mean one key press. */
export const SAME_KEY_PRESS_MS = 100

const USAGE_ERRORS: ReadonlySet<string> = new Set(['options-invalid', 'address-invalid', 'topic-invalid'])

/** What a program gets to talk to its user. */
export interface Io {
  readonly host: Host
  readonly printer: Printer
  /** There when both ends are a terminal and nobody asked for JSON lines. */
  readonly console: Console | undefined
  /** Ends the program, as the first Ctrl-C does. */
  stop(): void
}

/** What every program understands. */
export interface ProgramOptions {
  readonly json: boolean
  readonly help: boolean
  readonly version: boolean
}

/** One of the commands: what differs between `bootstrap` and `peer`. */
export interface Program<Options extends ProgramOptions> {
  version(): string
  help(): string
  /** @throws MusterError `options-invalid`, one problem a line. */
  parse(argv: readonly string[], env: NodeJS.ProcessEnv): Options
  /** Prints and starts; what it returns is closed when the program ends. */
  start(options: Options, io: Io): Promise<Closable>
}

/**
 * Runs a program from its command line to its exit code: 0 after a clean stop by SIGINT, SIGTERM or `/quit`,
 * 2 when the command line is wrong, 1 for any other failure, for a stop over {@link STOP_LIMIT_MS}, and for a
 * second signal, which ends the process at once.
 */
export async function run<Options extends ProgramOptions>(host: Host, program: Program<Options>): Promise<void> {
  const options = optionsOf(host, program)
  if (options !== undefined) await runStarted(host, program, options)
}

/** What a program is told; undefined when there is nothing left to do, and the process ends. */
export function optionsOf<Options extends ProgramOptions>(
  host: Host,
  program: Pick<Program<Options>, 'version' | 'help' | 'parse'>
): Options | undefined {
  if (!isNewEnough(host.nodeVersion)) {
    host.stderr.write(`Muster needs Node 24.12 or newer; this is ${host.nodeVersion}\n`)
    host.exit(1)
    return undefined
  }
  host.stderr.on('error', () => undefined) // nobody is left to be told
  let options: Options
  try {
    options = program.parse(host.argv, host.env)
  } catch (thrown) {
    fail(host, wantsJson(host) ? jsonPrinter(lineSink(host)) : undefined, thrown)
    return undefined
  }
  if (!options.help && !options.version) return options
  finish(host, 0, `${(options.help ? program.help() : program.version()).trimEnd()}\n`)
  return undefined
}

async function runStarted<Options extends ProgramOptions>(
  host: Host,
  program: Program<Options>,
  options: Options
): Promise<void> {
  const terminal = options.json || !isTerminal(host) ? undefined : openConsole(host.stdin, host.stdout)
  const sink = terminal?.write ?? lineSink(host)
  const printer = options.json ? jsonPrinter(sink) : humanPrinter(sink, hasColours(host))
  const failHere = (thrown: unknown): void => {
    terminal?.close()
    fail(host, options.json ? printer : undefined, thrown)
  }

  const stopping = Promise.withResolvers<void>()
  let stoppedAt: number | undefined
  let limit: NodeJS.Timeout | undefined
  const stop = (): void => {
    if (stoppedAt !== undefined) return
    stoppedAt = performance.now()
    stopping.resolve()
    limit = setTimeout(() => {
      failHere(new MusterError('timed-out', `did not stop within ${STOP_LIMIT_MS / 1000} s`))
      host.exit(1) // even when standard output takes nothing any more
    }, STOP_LIMIT_MS)
  }
  host.onSignal(() => {
    if (stoppedAt === undefined) stop()
    else if (performance.now() - stoppedAt > SAME_KEY_PRESS_MS) host.exit(1)
  })
  host.stdout.on('error', stop) // whoever read us is gone, e.g. `| head`

  try {
    const running = await program.start(options, { host, printer, console: terminal, stop })
    running.signal.addEventListener('abort', stop)
    if (!running.signal.aborted) await stopping.promise
    terminal?.close()
    await running.close()
    finish(host, 0)
  } catch (thrown) {
    failHere(thrown)
  } finally {
    clearTimeout(limit)
  }
}

/** Tells people on standard error, programs as a JSON line too, and ends the process. */
export function fail(
  host: Host,
  jsonLines: Printer | undefined,
  thrown: unknown,
  exitCodes: Readonly<Record<string, number>> = {}
): void {
  const { code, message, detail } = failureOf(thrown)
  host.stderr.write(`${detail ?? errorLines(code, message).join('\n')}\n`)
  jsonLines?.print({ event: 'error', code, message })
  finish(host, exitCodes[code] ?? (USAGE_ERRORS.has(code) ? 2 : 1))
}

export function lineSink(host: Host): LineSink {
  return line => void host.stdout.write(`${line}\n`)
}

/** Ends the process once what was printed is out. */
export function finish(host: Host, code: number, text = ''): void {
  host.stdout.write(text, () => host.exit(code))
}

/** A `MusterError` speaks for itself; anything else is a defect of ours, and its stack says where. */
function failureOf(thrown: unknown): { code: string; message: string; detail?: string } {
  if (isMusterError(thrown)) return thrown
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  return { code: 'unexpected', message: error.message, detail: `error: unexpected: ${error.stack ?? error.message}` }
}

function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number)
  return major > 24 || (major === 24 && minor >= 12)
}

/** For a command line that cannot be parsed: its errors are to come as JSON lines too. */
function wantsJson({ argv, env }: Host): boolean {
  return (
    argv.some(word => /^--json(=(1|true|yes|on))?$/i.test(word)) || /^(1|true|yes|on)$/i.test(env.MUSTER_JSON ?? '')
  )
}

function isTerminal({ stdin, stdout, env }: Host): boolean {
  return stdin.isTTY === true && stdout.isTTY === true && env.TERM !== 'dumb'
}

/** Colours on a terminal only, and never against https://no-color.org. */
export function hasColours({ stdout, env }: Host): boolean {
  return stdout.isTTY === true && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb'
}
