import { isMusterError, MusterError } from '../../shared/core/errors.ts'
import type { Host } from './host.ts'
import { errorLines, type Printer } from './printer.ts'

/** Milliseconds a graceful stop may take, its last words included; then the process ends with exit code 1. */
export const STOP_LIMIT_MS = 5000

/** npm passes on the signal that the terminal sent to everybody: both mean one key press. */
export const SAME_KEY_PRESS_MS = 100

const USAGE_ERRORS: ReadonlySet<string> = new Set(['options-invalid', 'address-invalid', 'topic-invalid'])

/** How a program ends: when it was asked to, once what it printed is out, in bounded time, with an exit code. */
export class Ending {
  /** Aborts on SIGINT and SIGTERM, with `stop`, and when standard output cannot be written any more. */
  readonly signal: AbortSignal
  /** Where errors go as JSON lines; undefined when none are wanted. */
  jsonLines: Printer | undefined
  /** Runs before the last words. */
  lastly: () => void = () => undefined
  readonly #host: Host
  readonly #controller = new AbortController()
  #stoppedAt = 0
  #limit: NodeJS.Timeout | undefined
  #isBroken = false
  #lost: MusterError | undefined

  /** A second signal ends the process at once. */
  constructor(host: Host) {
    this.#host = host
    this.signal = this.#controller.signal
    host.onSignal(() => {
      if (!this.signal.aborted) this.stop()
      else if (performance.now() - this.#stoppedAt > SAME_KEY_PRESS_MS) this.#exit(1)
    })
    host.stdout.on('error', error => {
      this.#onBroken(error)
      this.stop()
    })
    host.stderr.on('error', () => undefined) // nobody is left to be told
  }

  /** Asks the program to end. */
  stop(): void {
    if (this.signal.aborted) return
    this.#stoppedAt = performance.now()
    this.#limit = setTimeout(() => {
      this.fail(new MusterError('timed-out', `did not stop within ${STOP_LIMIT_MS / 1000} s`))
      this.#exit(1) // even when standard output takes nothing any more
    }, STOP_LIMIT_MS)
    this.#controller.abort(new MusterError('aborted'))
  }

  /** Ends the process once what was printed is out: with 1, and a word on standard error, where that was lost. */
  finish(code: number, text = ''): void {
    if (this.#lost === undefined) this.#end(code, text)
    else this.fail(this.#lost)
  }

  /** Tells people on standard error, programs as a JSON line too, and ends the process. */
  fail(thrown: unknown, exitCodes: Readonly<Record<string, number>> = {}): void {
    this.lastly()
    const { code, message, detail } = failureOf(this.#lost ?? thrown)
    this.#host.stderr.write(`${detail ?? errorLines(code, message).join('\n')}\n`)
    this.jsonLines?.print({ event: 'error', code, message })
    this.#end(exitCodes[code] ?? (USAGE_ERRORS.has(code) ? 2 : 1), '')
  }

  #end(code: number, text: string): void {
    this.lastly()
    this.#host.stdout.write(text, error => {
      if (error && this.#onBroken(error) !== undefined) this.fail(error)
      else this.#exit(code)
    })
  }

  /** The first time: what to tell of it. */
  #onBroken({ code, message }: NodeJS.ErrnoException): MusterError | undefined {
    if (this.#isBroken) return undefined
    this.#isBroken = true
    if (code === 'EPIPE') return undefined // whoever read us is gone, e.g. `| head`
    this.#lost = new MusterError('closed', `standard output cannot be written: ${code ?? message}`)
    return this.#lost
  }

  #exit(code: number): void {
    clearTimeout(this.#limit)
    this.#host.exit(code)
  }
}

/** A `MusterError` speaks for itself; anything else is a defect of ours, and its stack says where. */
function failureOf(thrown: unknown): { code: string; message: string; detail?: string } {
  if (isMusterError(thrown)) return thrown
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  return { code: 'unexpected', message: error.message, detail: `error: unexpected: ${error.stack ?? error.message}` }
}
