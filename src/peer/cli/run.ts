import { once } from 'node:events'
import { isMusterError } from '../../shared/core/errors.ts'
import type { Closable } from '../../shared/core/lifecycle.ts'
import { type Console, openConsole } from './console.ts'
import { Ending, STOP_LIMIT_MS } from './ending.ts'
import type { Host } from './host.ts'
import { Output } from './output.ts'
import { humanPrinter, jsonPrinter, type LineSink, type Printer } from './printer.ts'

/** What a program gets to talk to its user. */
export interface Io {
  readonly host: Host
  readonly printer: Printer
  readonly output: Output
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
  const ending = new Ending(host)
  const options = optionsOf(host, program, ending)
  if (options === undefined) return
  const terminal = options.json || !isTerminal(host) ? undefined : openConsole(host.stdin, host.stdout)
  const output = new Output(host.stdout)
  const printer = printerOf(host, options, terminal?.write ?? output.write)
  output.onMissed = lines => {
    const message = `${lines} lines were not printed: nobody read standard output`
    printer.print({ event: 'error', code: 'limit-reached', message })
  }
  if (options.json) ending.jsonLines = printer
  ending.lastly = () => terminal?.close()
  try {
    const running = await program.start(options, {
      host,
      printer,
      output,
      console: terminal,
      stop: () => ending.stop()
    })
    running.signal.addEventListener('abort', () => ending.stop())
    if (running.signal.aborted) ending.stop()
    if (!ending.signal.aborted) await once(ending.signal, 'abort')
    terminal?.close()
    const failure = await running.close().then(
      () => undefined,
      thrown => thrown
    )
    const { reason } = running.signal // what made it close by itself says more than what else failed then
    if (!isMusterError(reason, 'closed')) ending.fail(reason)
    else if (failure !== undefined) ending.fail(failure)
    else ending.finish(0)
  } catch (thrown) {
    ending.fail(thrown)
  }
}

/** What a program is told; undefined when there is nothing left to do, and the process ends. */
export function optionsOf<Options extends ProgramOptions>(
  host: Host,
  program: Pick<Program<Options>, 'version' | 'help' | 'parse'>,
  ending: Ending
): Options | undefined {
  if (!isNewEnough(host.nodeVersion)) {
    host.stderr.write(`Muster needs Node 24.12 or newer; this is ${host.nodeVersion}\n`)
    host.exit(1)
    return undefined
  }
  try {
    const options = program.parse(host.argv, host.env)
    if (!options.help && !options.version) return options
    ending.finish(0, `${(options.help ? program.help() : program.version()).trimEnd()}\n`)
  } catch (thrown) {
    if (wantsJson(host)) ending.jsonLines = jsonPrinter(lineSink(host))
    ending.fail(thrown)
  }
  return undefined
}

/** JSON lines, or lines for people. */
export function printerOf(host: Host, { json }: ProgramOptions, write: LineSink): Printer {
  return json ? jsonPrinter(write) : humanPrinter(write, hasColours(host))
}

/** Writes lines to standard output, however many wait there. */
export function lineSink({ stdout }: Host): LineSink {
  return line => void stdout.write(`${line}\n`)
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
function hasColours({ stdout, env }: Host): boolean {
  return stdout.isTTY === true && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb'
}
