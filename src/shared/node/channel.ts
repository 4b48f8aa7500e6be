import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import type { PeerId } from '../core/address.ts'
import { asMusterError, MusterError } from '../core/errors.ts'
import { raceSignal } from '../core/signals.ts'
import { FrameDecoder } from '../wire/frames.ts'
import { framesOf, onceIterable } from './batches.ts'
import { BUNDLE_BYTES, Outbox } from './outbox.ts'
import type { Channel } from './port.ts'
import { afterThisTurn } from './turn.ts'

/** Bytes of frames that wait for the reader, or are in the batch it took last, before the stream is paused. */
export const MAX_WAITING_BYTES = 262_144
/** What a frame costs besides its bytes, so that empty frames are bounded too. */
const FRAME_COST_BYTES = 16
/** Bytes a stream may hold unsent before `send` waits. */
const MAX_UNSENT_BYTES = 262_144
const CLOSE_TIMEOUT_MS = 1_000
const SENT: Promise<void> = Promise.resolve()

/** Eats what the other side says before the first frame. Returns what is left, or undefined while it is not done. */
export interface Preamble {
  push(chunk: Uint8Array): Uint8Array | undefined
}

/**
 * A libp2p stream as frames. The one place where streams are wrapped: `lpStream` reads an endless varint prefix,
 * `onDrain` works once, rejections may be events (T25).
 */
export class StreamChannel implements Channel {
  readonly peerId: PeerId
  readonly inbound: boolean
  readonly signal: AbortSignal
  readonly batches: AsyncIterable<readonly Uint8Array[]>
  readonly frames: AsyncIterable<Uint8Array>
  readonly #stream: Stream
  readonly #decoder: FrameDecoder
  readonly #maxFrameBytes: number
  readonly #closed = new AbortController()
  readonly #outbox = new Outbox()
  #isFlushDue = false
  #isClosing = false
  #isAborted = false
  /** Settled when there is room again; what `send` returns meanwhile. */
  #room: PromiseWithResolvers<void> | undefined
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #preamble: Preamble | undefined
  readonly #agreed = Promise.withResolvers<void>()
  #hasEnded = false
  #isResuming = false
  #failure: MusterError | undefined
  #wakeReader: (() => void) | undefined

  constructor(stream: Stream, peerId: PeerId, maxFrameBytes: number, preamble?: Preamble) {
    this.#stream = stream
    this.peerId = peerId
    this.inbound = stream.direction === 'inbound'
    this.signal = this.#closed.signal
    this.#maxFrameBytes = maxFrameBytes
    this.#decoder = new FrameDecoder(maxFrameBytes)
    this.#preamble = preamble
    if (preamble === undefined) this.#agreed.resolve()
    this.batches = onceIterable(() => this.#read())
    this.frames = framesOf(this.batches, () => this.#isAborted)
    const close = stream.close.bind(stream)
    // whoever closes it, as the muxer does when the connection is closed: what was accepted goes first
    stream.close = options => {
      this.#isClosing = true
      this.#flush()
      return this.#outbox.isEmpty ? close(options) : this.#written().then(() => close(options))
    }
    const recheck = (): void => {
      // libp2p's own 'drain' listener refills the window in a microtask of its own; look after it
      queueMicrotask(() => queueMicrotask(() => this.#flush()))
    }
    stream.addEventListener('drain', recheck)
    stream.addEventListener('end', () => this.#onEnd())
    stream.addEventListener('close', event => this.#onClose(event))
    stream.addEventListener('message', event => this.#onData(event))
    if (stream.readableEnded && stream.readBufferLength === 0) this.#onEnd()
    if (stream.status === 'aborted' || stream.status === 'reset') this.#fail(closedByOther())
    else if (stream.status === 'closed') this.#finish(new MusterError('closed'))
  }

  send(frame: Uint8Array): Promise<void> {
    if (frame.length > this.#maxFrameBytes) {
      return Promise.reject(
        new MusterError('too-large', `a frame of ${frame.length} bytes; at most ${this.#maxFrameBytes}`)
      )
    }
    if (this.#closed.signal.aborted) return Promise.reject(this.#closed.signal.reason)
    if (this.#isClosing || this.#stream.writeStatus !== 'writable') {
      return Promise.reject(new MusterError('closed', 'the channel is being closed'))
    }
    this.#outbox.push(frame)
    if (this.#outbox.bytes >= BUNDLE_BYTES) this.#flush()
    else this.#flushAfterThisTurn()
    if (this.#closed.signal.aborted) return Promise.reject(this.#closed.signal.reason)
    if (this.#hasRoom()) return SENT
    this.#room ??= Promise.withResolvers()
    return this.#room.promise
  }

  end(): Promise<void> {
    return this.#orAbort(() => this.#endHalf())
  }

  close(): Promise<void> {
    return this.#orAbort(async () => {
      await this.#endHalf()
      if (this.signal.aborted) return
      await this.#stream.closeRead?.({ signal: AbortSignal.timeout(CLOSE_TIMEOUT_MS) })
      this.#finish(new MusterError('closed'))
    })
  }

  abort(reason: Error): void {
    if (this.#closed.signal.aborted) return
    this.#isAborted = true
    this.#waiting = []
    this.#fail(asMusterError(reason, 'closed'))
    this.#stream.abort(reason)
  }

  /** Sends bytes as they are, ahead of all frames. */
  sendOpening(bytes: Uint8Array): void {
    this.#stream.send(bytes)
  }

  async #orAbort(closing: () => Promise<void>): Promise<void> {
    try {
      await closing()
    } catch (thrown) {
      if (!this.signal.aborted) this.abort(asMusterError(thrown, 'closed'))
    }
  }

  async #endHalf(): Promise<void> {
    this.#isClosing = true
    this.#flush()
    await this.#written()
    if (this.signal.aborted) return
    // a stream whose end the other side reads together with the proposal is reset, and what was sent be lost
    await raceSignal(this.#agreed.promise, AbortSignal.any([this.signal, AbortSignal.timeout(CLOSE_TIMEOUT_MS)]))
    await raceSignal(this.#stream.close({ signal: AbortSignal.timeout(CLOSE_TIMEOUT_MS) }), this.signal)
  }

  #flushAfterThisTurn(): void {
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    afterThisTurn(() => {
      this.#isFlushDue = false
      this.#flush()
    })
  }

  /** Writes what waits, unless the stream is full, and lets those know who wait for room. */
  #flush(): void {
    if (this.#closed.signal.aborted) return
    try {
      while (!this.#outbox.isEmpty && !this.#stream.writableNeedsDrain) this.#stream.send(this.#outbox.take())
    } catch (thrown) {
      this.abort(asMusterError(thrown, 'closed'))
      return
    }
    if (this.#room === undefined || !this.#hasRoom()) return
    this.#room.resolve()
    this.#room = undefined
  }

  /** A full stream keeps no list of its own beyond the bundle that filled it: the rest waits in the outbox. */
  #hasRoom(): boolean {
    return this.#outbox.bytes + this.#stream.writeBufferLength < MAX_UNSENT_BYTES
  }

  /** Resolves when all is in the stream, or lost. */
  async #written(): Promise<void> {
    while (!this.#outbox.isEmpty) {
      this.#room ??= Promise.withResolvers()
      await this.#room.promise.catch(() => undefined)
    }
  }

  #onData({ data }: StreamMessageEvent): void {
    if (this.#failure !== undefined) return
    try {
      if (data instanceof Uint8Array) this.#onBytes(data)
      else for (const part of data) this.#onBytes(part)
    } catch (thrown) {
      this.abort(asMusterError(thrown, 'protocol-violation'))
      return
    }
    if (!this.#isResuming) this.#pauseWhenFull()
    this.#wakeReader?.()
    // 'end' came while the negotiation held the last bytes, which it pushed back: they are the end
    if (this.#stream.readableEnded && this.#stream.readBufferLength === 0) this.#onEnd()
  }

  #onBytes(bytes: Uint8Array): void {
    let rest: Uint8Array | undefined = bytes
    if (this.#preamble !== undefined) {
      rest = this.#preamble.push(bytes)
      if (rest === undefined) return
      this.#preamble = undefined
      this.#agreed.resolve()
    }
    for (const frame of this.#decoder.push(rest)) {
      this.#waiting.push(frame)
      this.#waitingBytes += frame.length + FRAME_COST_BYTES
    }
  }

  #pauseWhenFull(): void {
    if (this.#waitingBytes > MAX_WAITING_BYTES && this.#stream.readStatus === 'readable') this.#stream.pause()
  }

  /** `resume` delivers what the stream buffered before it returns; a pause inside it would be undone at its end. */
  #resumeWhenTaken(): void {
    if (this.#waitingBytes > MAX_WAITING_BYTES || this.#stream.readStatus !== 'paused') return
    this.#isResuming = true
    try {
      this.#stream.resume()
    } finally {
      this.#isResuming = false
    }
    this.#pauseWhenFull()
  }

  #onEnd(): void {
    if (this.#failure !== undefined) return
    if (this.#preamble !== undefined || !this.#decoder.isIdle) {
      if (this.#stream.status !== 'open')
        this.#fail(closedByOther()) // reset, or gone with its connection
      else this.abort(new MusterError('protocol-violation', 'the stream ended inside a frame'))
      return
    }
    this.#hasEnded = true
    this.#wakeReader?.()
  }

  #onClose(event: StreamCloseEvent): void {
    if (this.#closed.signal.aborted) return
    if (event.error !== undefined) this.#fail(closedByOther(event.error))
    else this.#finish(new MusterError('closed'))
  }

  /** Nothing more will come or go, and that is in order: what has arrived may still be read, then comes `end`. */
  #finish(reason: MusterError): void {
    if (this.#stream.readBufferLength === 0) this.#hasEnded = true
    this.#end(reason)
  }

  #fail(reason: MusterError): void {
    this.#failure = reason
    this.#end(reason)
  }

  #end(reason: MusterError): void {
    if (!this.#closed.signal.aborted) this.#closed.abort(reason)
    this.#wakeReader?.()
    this.#outbox.clear()
    this.#room?.reject(this.#closed.signal.reason)
    this.#room = undefined
  }

  async *#read(): AsyncGenerator<readonly Uint8Array[]> {
    for (;;) {
      if (this.#waiting.length > 0) {
        const [batch, bytes] = [this.#waiting, this.#waitingBytes]
        this.#waiting = []
        yield batch
        this.#waitingBytes -= bytes
        this.#resumeWhenTaken()
        continue
      }
      if (this.#failure !== undefined) throw this.#failure
      if (this.#hasEnded) return
      await new Promise<void>(resolve => {
        this.#wakeReader = resolve
      })
    }
  }
}

function closedByOther(cause?: Error): MusterError {
  return new MusterError('closed', 'the other side broke the stream', { cause })
}
