import type { PeerId } from '../../shared/core/address.ts'
import { type Clock, systemClock } from '../../shared/core/clock.ts'
import type { Printer } from './printer.ts'
import { sanitize } from './sanitize.ts'
import { bytesText } from './shown.ts'

/** Milliseconds between two events about one file, and between two drawings of the bars. */
const EVENT_PAUSE_MS = 1000
const DRAW_PAUSE_MS = 100
const BAR_WIDTH = 20

/** One file on its way. */
export interface Transfer {
  readonly topic: string
  readonly peerId: PeerId
  readonly name: string
  readonly totalBytes: number
  readonly direction: 'in' | 'out'
}

/** Where a transfer says how far it is. */
export interface TransferProgress {
  report(bytes: number): void
  end(): void
}

/** Keeps lines above the prompt of a terminal. */
type DrawLines = (lines: readonly string[]) => void

interface Shown {
  readonly transfer: Transfer
  readonly startedAt: number
  toldAt: number
  bytes: number
}

/** What is under way: an event a second for each file, and a bar on a terminal. */
export class ProgressBoard {
  readonly #printer: Printer
  readonly #draw: DrawLines | undefined
  readonly #clock: Clock
  readonly #shown = new Set<Shown>()
  #drawnAt = 0

  /** `draw` is undefined where there is no terminal. */
  constructor(printer: Printer, draw: DrawLines | undefined, clock: Clock = systemClock) {
    this.#printer = printer
    this.#draw = draw
    this.#clock = clock
  }

  start(transfer: Transfer): TransferProgress {
    const now = this.#clock.now()
    const shown: Shown = { transfer, startedAt: now, toldAt: now, bytes: 0 }
    this.#shown.add(shown)
    return {
      report: bytes => {
        shown.bytes = bytes
        this.#tell(shown)
      },
      end: () => {
        this.#shown.delete(shown)
        this.#redraw()
      }
    }
  }

  #tell(shown: Shown): void {
    const now = this.#clock.now()
    if (now - this.#drawnAt >= DRAW_PAUSE_MS) this.#redraw()
    if (now - shown.toldAt < EVENT_PAUSE_MS) return
    shown.toldAt = now
    const { topic, peerId, name, totalBytes, direction } = shown.transfer
    this.#printer.print({ event: 'file-progress', topic, peerId, name, bytes: shown.bytes, totalBytes, direction })
  }

  #redraw(): void {
    const now = this.#clock.now()
    this.#drawnAt = now
    this.#draw?.([...this.#shown].map(shown => barLine(shown, now)))
  }
}

function barLine({ transfer, bytes, startedAt }: Shown, now: number): string {
  const { direction, name, totalBytes } = transfer
  const part = totalBytes === 0 ? 1 : Math.min(1, bytes / totalBytes)
  const filled = Math.floor(part * BAR_WIDTH)
  const bar = `${'━'.repeat(filled)}${'─'.repeat(BAR_WIDTH - filled)}`
  const rate = bytesText((bytes * 1000) / Math.max(1, now - startedAt))
  const percent = `${Math.floor(part * 100)}`.padStart(3)
  return `${direction === 'in' ? '↓' : '↑'} ${bar} ${percent} % of ${bytesText(totalBytes)}, ${rate}/s ${sanitize(name, 60)}`
}
