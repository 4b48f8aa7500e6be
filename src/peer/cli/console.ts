import { addAbortListener } from 'node:events'
import { clearScreenDown, createInterface, cursorTo, type Interface, moveCursor } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import type { MusterError } from '../../shared/core/errors.ts'
import type { Undo } from '../../shared/core/lifecycle.ts'
import { COMMANDS, lineTooLong, MAX_LINE_BYTES } from './commands.ts'
import type { LineSink } from './printer.ts'
import { sanitize } from './sanitize.ts'

const LINE_FEED = 10
const CARRIAGE_RETURN = 13

/** What a line typed does; the next one waits for it. */
export type LineHandler = (line: string) => Promise<void>

/**
 * Reads lines from a stream that is no terminal, one after the other, until it ends or `signal` aborts.
 * A line over {@link MAX_LINE_BYTES} is skipped without being held, and reported through `refuse`.
 */
export async function readLines(
  input: Readable,
  handle: LineHandler,
  refuse: (error: MusterError) => void,
  signal: AbortSignal
): Promise<void> {
  let held: Buffer[] = []
  let heldBytes = 0
  let isSkipping = false
  const end = async (): Promise<void> => {
    const whole = Buffer.concat(held)
    const line = whole.at(-1) === CARRIAGE_RETURN ? whole.subarray(0, -1) : whole
    const isTooLong = isSkipping || line.length > MAX_LINE_BYTES
    held = []
    heldBytes = 0
    isSkipping = false
    if (isTooLong) refuse(lineTooLong())
    else await handle(line.toString())
  }
  const take = (piece: Buffer): void => {
    if (isSkipping) return
    held.push(piece)
    heldBytes += piece.length
    if (heldBytes <= MAX_LINE_BYTES + 1) return // + 1: a carriage return is not part of the line
    held = []
    isSkipping = true
  }
  using _ending = addAbortListener(signal, () => void input.destroy())
  for await (const chunk of untilBroken(input)) {
    let rest = chunk
    for (let at = rest.indexOf(LINE_FEED); at >= 0; at = rest.indexOf(LINE_FEED)) {
      take(rest.subarray(0, at))
      await end()
      if (signal.aborted) return
      rest = rest.subarray(at + 1)
    }
    take(rest)
  }
  if (heldBytes > 0 && !signal.aborted) await end()
}

/** A standard input that breaks is one that ended: the peer goes on without it. */
async function* untilBroken(input: Readable): AsyncIterable<Buffer> {
  try {
    for await (const chunk of input) yield Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk)
  } catch {}
}

/** A console on a terminal: a prompt that stays below what is printed, whatever is being typed. */
export interface Console {
  /** Prints a line above the prompt. */
  readonly write: LineSink
  /** Keeps these lines between what is printed and the prompt, in place of those before. */
  readonly status: (lines: readonly string[]) => void
  /** Starts to take input. `interrupt` is called for Ctrl-C and Ctrl-D. */
  start(handle: LineHandler, promptText: () => string, interrupt: () => void): void
  readonly close: Undo
}

export function openConsole(input: Readable, output: Writable): Console {
  let terminal: Interface | undefined
  let isClosed = false
  let promptText: () => string = () => ''
  let statusLines: readonly string[] = []

  const prompt = (preserveCursor: boolean): void => {
    if (terminal === undefined || isClosed) return
    const topic = sanitize(promptText(), 40)
    // readline counts the rows of a prompt of several lines, so these lines move with it; none of them may wrap
    const above = statusLines.map(line => `${fitted(line, output)}\n`).join('')
    terminal.setPrompt(`${above}${topic === '' ? '> ' : `${topic}> `}`)
    terminal.prompt(preserveCursor)
  }

  /** Wipes prompt and input, which may cover several rows, writes `text` there, and draws them again below. */
  const redraw = (text: string): void => {
    if (terminal === undefined || isClosed) return
    moveCursor(output, 0, -terminal.getCursorPos().rows)
    cursorTo(output, 0)
    clearScreenDown(output)
    output.write(text)
    // readline would go up again by the rows of its last drawing, over what was just written.
    if ('prevRows' in terminal) terminal.prevRows = 0
    prompt(true)
  }

  return {
    write(line) {
      if (terminal === undefined || isClosed) {
        output.write(`${line}\n`)
        return
      }
      redraw(`${line}\n`)
    },
    status(lines) {
      if (lines.length === 0 && statusLines.length === 0) return
      statusLines = lines
      redraw('')
    },
    start(handle, text, interrupt) {
      promptText = text
      terminal = createInterface({ input, output, terminal: true, historySize: 200, completer: completeCommand })
      let queue = Promise.resolve()
      terminal.on('line', line => {
        queue = queue.then(() => handle(line)).then(() => prompt(true))
      })
      terminal.on('SIGINT', interrupt)
      terminal.on('error', interrupt) // the terminal itself is gone
      terminal.on('close', () => {
        if (!isClosed) interrupt()
      })
      prompt(false)
    },
    close() {
      if (isClosed) return
      isClosed = true
      terminal?.close()
      if (terminal !== undefined) output.write('\n')
    }
  }
}

/** What of a line fits into a row of the terminal. */
function fitted(line: string, output: Writable): string {
  const columns = 'columns' in output && typeof output.columns === 'number' ? output.columns : 80
  return [...line].slice(0, Math.max(1, columns - 1)).join('')
}

/** Completes the name of a command. */
export function completeCommand(line: string): [string[], string] {
  if (!/^\/\S*$/.test(line)) return [[], line]
  return [COMMANDS.map(({ name }) => `/${name} `).filter(name => name.startsWith(line)), line]
}
