import type { Writable } from 'node:stream'
import { raceSignal } from '../../shared/core/signals.ts'
import type { LineSink } from './printer.ts'

/** Output that waits for a reader, in bytes; further lines wait with what they tell of, or are counted, not kept. */
export const MAX_UNREAD_BYTES = 16_777_216

/** Standard output, line by line, for a reader that may be slower than the network, or stand still. */
export class Output {
  /** Called when the reader goes on, with how many lines it has missed. */
  onMissed: (lines: number) => void = () => undefined
  readonly #stream: Writable
  #missed = 0
  #drained: Promise<void> | undefined

  constructor(stream: Writable) {
    this.#stream = stream
  }

  /** A line written now would be lost. */
  get isFull(): boolean {
    return this.#stream.writableLength > MAX_UNREAD_BYTES
  }

  readonly write: LineSink = line => {
    if (!this.isFull) return void this.#stream.write(`${line}\n`)
    this.#missed++
    void this.#drain()
  }

  /** Waits until there is room for what `print` writes. */
  async whenRoom(signal: AbortSignal, print: () => void): Promise<void> {
    while (this.isFull) await raceSignal(this.#drain(), signal)
    print()
  }

  /** The reader has taken all that waited. */
  #drain(): Promise<void> {
    this.#drained ??= new Promise(resolve => {
      this.#stream.once('drain', () => {
        this.#drained = undefined
        const missed = this.#missed
        this.#missed = 0
        if (missed > 0) this.onMissed(missed)
        resolve()
      })
    })
    return this.#drained
  }
}
