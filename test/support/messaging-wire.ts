import { MusterError } from '../../src/shared/core/errors.ts'
import type { Channel } from '../../src/shared/node/port.ts'

/** Frames one direction takes before `send` waits: few, so that a writer often does. */
const WINDOW_FRAMES = 4

/** One end of a stream whose frames arrive when the test says so. */
export class WireEnd implements Channel {
  readonly peerId: string
  readonly inbound: boolean
  readonly signal: AbortSignal
  readonly batches: AsyncIterable<readonly Uint8Array[]>
  readonly frames: AsyncIterable<Uint8Array>
  /** Frames on their way from here. */
  readonly underWay: Uint8Array[] = []
  /** Why this end gave the stream up, if it did. */
  abortedWith: unknown
  other: WireEnd | undefined
  readonly #over = new AbortController()
  #here: Uint8Array[] = []
  #isEnding = false
  #hasEnded = false
  #failure: MusterError | undefined
  #wake: (() => void) | undefined
  #room: Array<() => void> = []

  constructor(peerId: string, inbound: boolean) {
    this.peerId = peerId
    this.inbound = inbound
    this.signal = this.#over.signal
    this.batches = { [Symbol.asyncIterator]: () => this.#read() }
    this.frames = {
      [Symbol.asyncIterator]: () => {
        throw new Error('nobody reads single frames here')
      }
    }
  }

  async send(frame: Uint8Array): Promise<void> {
    if (this.signal.aborted) throw this.signal.reason
    this.underWay.push(frame)
    while (this.underWay.length > WINDOW_FRAMES && !this.signal.aborted) {
      await new Promise<void>(resolve => this.#room.push(resolve))
    }
  }

  end(): Promise<void> {
    throw new Error('nobody closes one half here')
  }

  async close(): Promise<void> {
    this.#isEnding = true
    this.arrive(0)
    this.#finish(new MusterError('closed'))
  }

  abort(reason: Error): void {
    if (this.signal.aborted) return
    this.abortedWith = reason
    this.break()
  }

  /** Both ends break; what is on its way is lost. */
  break(): void {
    for (const end of [this, this.other]) {
      if (end === undefined) continue
      end.underWay.length = 0
      if (end.signal.aborted) continue
      end.#here = []
      end.#failure = new MusterError('closed', 'the wire was cut')
      end.#finish(end.#failure)
    }
  }

  /** Lets frames arrive at the other end. */
  arrive(count: number): void {
    this.other?.take(this.underWay.splice(0, count))
    for (const resolve of this.#room.splice(0)) resolve()
    if (this.#isEnding && this.underWay.length === 0) this.other?.takeEnd()
  }

  take(frames: readonly Uint8Array[]): void {
    if (this.signal.aborted) return
    this.#here.push(...frames)
    this.#wake?.()
  }

  takeEnd(): void {
    this.#hasEnded = true
    this.#wake?.()
  }

  #finish(reason: MusterError): void {
    if (!this.signal.aborted) this.#over.abort(reason)
    this.#wake?.()
    for (const resolve of this.#room.splice(0)) resolve()
  }

  async *#read(): AsyncGenerator<readonly Uint8Array[]> {
    for (;;) {
      const frames = this.#here.splice(0)
      if (frames.length > 0) yield frames
      else if (this.#failure !== undefined) throw this.#failure
      else if (this.#hasEnded || this.signal.aborted) return
      else {
        await new Promise<void>(resolve => {
          this.#wake = resolve
        })
      }
    }
  }
}
