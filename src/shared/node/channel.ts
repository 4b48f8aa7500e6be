import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import type { PeerId } from '../core/address.ts'
import { asMusterError, MusterError } from '../core/errors.ts'
import { raceSignal } from '../core/signals.ts'
import { encodeFrames, FrameDecoder } from '../wire/frames.ts'
import type { Channel } from './port.ts'

/** Bytes of frames that wait for the reader before the stream is paused. */
export const MAX_WAITING_BYTES = 262_144
/** Bytes a stream may hold unsent before `send` waits. */
const MAX_UNSENT_BYTES = 262_144
const CLOSE_TIMEOUT_MS = 1_000

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
  readonly frames: AsyncIterable<Uint8Array>
  readonly #stream: Stream
  readonly #decoder: FrameDecoder
  readonly #maxFrameBytes: number
  readonly #closed = new AbortController()
  readonly #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #preamble: Preamble | undefined
  readonly #agreed = Promise.withResolvers<void>()
  #hasEnded = false
  #isResuming = false
  /** Frames handed to `send` that are not in the stream yet, or wait for room. */
  #unsettled = 0
  #failure: MusterError | undefined
  #wakeReader: (() => void) | undefined
  #wakeWriter: (() => void) | undefined
  #sending: Promise<void> = Promise.resolve()

  constructor(stream: Stream, peerId: PeerId, maxFrameBytes: number, preamble?: Preamble) {
    this.#stream = stream
    this.peerId = peerId
    this.inbound = stream.direction === 'inbound'
    this.signal = this.#closed.signal
    this.#maxFrameBytes = maxFrameBytes
    this.#decoder = new FrameDecoder(maxFrameBytes)
    this.#preamble = preamble
    if (preamble === undefined) this.#agreed.resolve()
    this.frames = this.#read()
    const recheck = (): void => {
      // libp2p's own 'drain' listener refills the window in a microtask of its own; look after it
      queueMicrotask(() => queueMicrotask(() => this.#wakeWriter?.()))
    }
    stream.addEventListener('drain', recheck)
    stream.addEventListener('idle', recheck)
    stream.addEventListener('end', () => this.#onEnd())
    stream.addEventListener('close', event => this.#onClose(event))
    stream.addEventListener('message', event => this.#onData(event))
    if (stream.readableEnded && stream.readBufferLength === 0) this.#onEnd()
    if (stream.status === 'aborted' || stream.status === 'reset' || stream.status === 'closed')
      this.#fail(closedByOther())
  }

  send(frame: Uint8Array): Promise<void> {
    if (frame.length > this.#maxFrameBytes) {
      return Promise.reject(
        new MusterError('too-large', `a frame of ${frame.length} bytes; at most ${this.#maxFrameBytes}`)
      )
    }
    const sent =
      this.#hasRoom() && this.#unsettled === 0 ? this.#write(frame) : this.#sending.then(() => this.#write(frame))
    this.#sending = sent.catch(() => undefined) // each caller hears of its own failure
    return sent
  }

  async close(): Promise<void> {
    await this.#sending
    if (this.#closed.signal.aborted) return
    try {
      // a stream whose end the other side reads together with the proposal is reset, and what was sent be lost
      await raceSignal(this.#agreed.promise, AbortSignal.any([this.signal, AbortSignal.timeout(CLOSE_TIMEOUT_MS)]))
      await raceSignal(this.#stream.close({ signal: AbortSignal.timeout(CLOSE_TIMEOUT_MS) }), this.signal)
      await this.#stream.closeRead?.({ signal: AbortSignal.timeout(CLOSE_TIMEOUT_MS) })
      this.#finish(new MusterError('closed'))
    } catch (thrown) {
      if (!this.signal.aborted) this.abort(asMusterError(thrown, 'closed'))
    }
  }

  abort(reason: Error): void {
    if (this.#closed.signal.aborted) return
    this.#waiting.length = 0
    this.#waitingBytes = 0
    this.#fail(asMusterError(reason, 'closed'))
    this.#stream.abort(reason)
  }

  /** Sends bytes as they are, ahead of all frames. */
  sendOpening(bytes: Uint8Array): void {
    this.#stream.send(bytes)
  }

  async #write(frame: Uint8Array): Promise<void> {
    this.#unsettled++
    try {
      this.#throwIfClosed()
      try {
        this.#stream.send(encodeFrames([frame]))
      } catch (thrown) {
        throw asMusterError(thrown, 'closed')
      }
      while (!this.#hasRoom()) {
        await new Promise<void>(resolve => {
          this.#wakeWriter = resolve
        })
        this.#throwIfClosed()
      }
    } finally {
      this.#unsettled--
    }
  }

  #hasRoom(): boolean {
    return !this.#stream.writableNeedsDrain || this.#stream.writeBufferLength < MAX_UNSENT_BYTES
  }

  #throwIfClosed(): void {
    if (this.#closed.signal.aborted) throw this.#closed.signal.reason
  }

  #onData({ data }: StreamMessageEvent): void {
    if (this.#closed.signal.aborted) return
    try {
      let bytes: Uint8Array | undefined = data.subarray()
      if (this.#preamble !== undefined) {
        bytes = this.#preamble.push(bytes)
        if (bytes === undefined) return
        this.#preamble = undefined
        this.#agreed.resolve()
      }
      for (const frame of this.#decoder.push(bytes)) {
        this.#waiting.push(frame)
        this.#waitingBytes += frame.length
      }
    } catch (thrown) {
      this.abort(asMusterError(thrown, 'protocol-violation'))
      return
    }
    if (!this.#isResuming) this.#pauseWhenFull()
    this.#wakeReader?.()
    // 'end' came while the negotiation held the last bytes, which it pushed back: they are the end
    if (this.#stream.readableEnded && this.#stream.readBufferLength === 0) this.#onEnd()
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
    if (this.#closed.signal.aborted) return
    if (this.#preamble !== undefined || !this.#decoder.isIdle) {
      this.abort(new MusterError('protocol-violation', 'the stream ended inside a frame'))
      return
    }
    this.#hasEnded = true
    this.#wakeReader?.()
  }

  #onClose(event: StreamCloseEvent): void {
    if (event.error !== undefined) this.#fail(closedByOther(event.error))
    else this.#finish(new MusterError('closed'))
  }

  /** Nothing more will come or go, and that is in order: frames that wait may still be read. */
  #finish(reason: MusterError): void {
    this.#hasEnded = true
    if (!this.#closed.signal.aborted) this.#closed.abort(reason)
    this.#wakeReader?.()
    this.#wakeWriter?.()
  }

  #fail(reason: MusterError): void {
    if (this.#closed.signal.aborted) return
    this.#failure = reason
    this.#closed.abort(reason)
    this.#wakeReader?.()
    this.#wakeWriter?.()
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const frame = this.#waiting.shift()
      if (frame !== undefined) {
        this.#waitingBytes -= frame.length
        this.#resumeWhenTaken()
        yield frame
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
