import type { AbortOptions, MessageStream, Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import { AbstractMessageStream, type SendResult } from '@libp2p/utils'
import type { Uint8ArrayList } from 'uint8arraylist'
import { MusterError } from '../core/errors.ts'
import { LENGTH_BYTES } from './noise-parser.ts'

/** A connection without encryption. All of libp2p's say how their halves are, though their interface does not. */
export type RawStream = MessageStream & Pick<Stream, 'readStatus' | 'writeStatus' | 'writeBufferLength'>

/**
 * A connection as its Noise handshake sees it: so many messages to read, and nothing behind them. The other side may
 * send its first data together with its last handshake message; that is kept, and no more is read until it is taken.
 */
export class HandshakeStream extends AbstractMessageStream {
  readonly #stream: RawStream
  readonly #early: Uint8Array[] = []
  #messagesLeft: number
  #lengthRead = 0
  #length = 0
  #bytesLeft = 0
  readonly #onMessage = ({ data }: StreamMessageEvent): void => this.#onBytes(data.subarray())
  readonly #onClose = (event: StreamCloseEvent): void => {
    if (event.error === undefined) this.onTransportClosed()
    else if (event.local === true) this.abort(event.error)
    else this.onRemoteReset()
  }
  readonly #onDrain = (): void => {
    this.safeDispatchEvent('drain')
  }

  constructor(stream: RawStream, messagesToRead: number) {
    super({
      log: stream.log,
      inactivityTimeout: stream.inactivityTimeout,
      maxReadBufferLength: stream.maxReadBufferLength,
      direction: stream.direction
    })
    this.#stream = stream
    this.#messagesLeft = messagesToRead
    stream.addEventListener('message', this.#onMessage)
    stream.addEventListener('close', this.#onClose)
    stream.addEventListener('drain', this.#onDrain)
  }

  /** Gives the connection, and what followed the handshake, to the one that `take` makes. */
  handOver<T>(take: (early: readonly Uint8Array[]) => T): T {
    if (this.#stream.status !== 'open') throw new MusterError('closed', 'the connection ended with its handshake')
    this.detach()
    const taker = take(this.#early)
    if (this.#stream.readStatus === 'paused') this.#stream.resume()
    return taker
  }

  /** Leaves the connection alone from now on. */
  detach(): void {
    this.#stream.removeEventListener('message', this.#onMessage)
    this.#stream.removeEventListener('close', this.#onClose)
    this.#stream.removeEventListener('drain', this.#onDrain)
  }

  async close(options?: AbortOptions): Promise<void> {
    await this.#stream.close(options)
  }

  override sendData(data: Uint8ArrayList): SendResult {
    return { sentBytes: data.byteLength, canSendMore: this.#stream.send(data.subarray()) } // length and message: one write
  }

  override sendReset(error: Error): void {
    this.#stream.abort(error)
  }

  override sendPause(): void {
    this.#stream.pause()
  }

  override sendResume(): void {
    this.#stream.resume()
  }

  #onBytes(bytes: Uint8Array): void {
    const end = this.#endOfHandshake(bytes)
    const rest = bytes.subarray(end)
    if (this.#messagesLeft === 0) {
      if (rest.length > 0) this.#early.push(rest)
      if (this.#stream.readStatus === 'readable') this.#stream.pause()
    }
    if (end > 0) this.onData(bytes.subarray(0, end))
  }

  /** How many of `bytes` belong to the messages that are still to come. */
  #endOfHandshake(bytes: Uint8Array): number {
    let at = 0
    while (at < bytes.length && this.#messagesLeft > 0) {
      if (this.#lengthRead < LENGTH_BYTES) {
        this.#length = (this.#length << 8) | (bytes[at++] as number)
        if (++this.#lengthRead < LENGTH_BYTES) continue
        this.#bytesLeft = this.#length
      }
      const taken = Math.min(this.#bytesLeft, bytes.length - at)
      at += taken
      this.#bytesLeft -= taken
      if (this.#bytesLeft > 0) continue
      this.#messagesLeft--
      this.#lengthRead = 0
      this.#length = 0
    }
    return at
  }
}
