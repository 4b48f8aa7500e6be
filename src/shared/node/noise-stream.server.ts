import { type AbortOptions, type StreamCloseEvent, StreamStateError } from '@libp2p/interface'
import { AbstractMessageStream, type SendResult } from '@libp2p/utils'
import { Uint8ArrayList } from 'uint8arraylist'
import { asError, MusterError } from '../core/errors.ts'
import { MAX_UNSENT_CONNECTION_BYTES } from './limits.ts'
import { type NoiseCipher, TAG_BYTES } from './noise-cipher.server.ts'
import type { RawStream } from './noise-handshake.ts'
import { Pages } from './noise-pages.server.ts'
import { LENGTH_BYTES, NoiseParser } from './noise-parser.ts'
import { afterThisTurn } from './turn.ts'

/** Plaintext in one message. Noise allows 65,519; short ones mostly arrive whole in one read, and fit into a cache. */
const MESSAGE_BYTES = 16_384
/** Unsent plaintext that is not kept for the end of the turn. */
const FLUSH_BYTES = 65_536
/** Plaintext that goes into one buffer, and one write. */
const WRITE_BYTES = 16 * MESSAGE_BYTES

const pages = new Pages(WRITE_BYTES + (WRITE_BYTES / MESSAGE_BYTES) * (LENGTH_BYTES + TAG_BYTES))

/** What libp2p's TCP connection has below: it tells whether it still needs the bytes it was given. */
interface Socket {
  readonly writableLength: number
}

export interface NoiseKeys {
  readonly send: NoiseCipher
  readonly receive: NoiseCipher
}

/**
 * A connection after its Noise handshake. Everything sent in one turn of the event loop leaves as one write, in as few
 * messages as it takes; everything that one read brings is delivered at once. What is on the wire is what every
 * implementation of libp2p's `/noise` writes and reads.
 */
export class NoiseStream extends AbstractMessageStream {
  readonly #stream: RawStream
  readonly #socket: Socket | undefined
  readonly #keys: NoiseKeys
  readonly #parser = new NoiseParser(TAG_BYTES)
  #unsent: Uint8Array[] = []
  #unsentBytes = 0
  #isFlushDue = false
  /** The page the socket has not taken yet. */
  #pageUnderWay: Buffer | undefined

  /** `early`: what followed the handshake already. */
  constructor(stream: RawStream, keys: NoiseKeys, early: ReadonlyArray<Uint8Array>) {
    super({
      log: stream.log,
      inactivityTimeout: stream.inactivityTimeout,
      maxReadBufferLength: stream.maxReadBufferLength,
      direction: stream.direction
    })
    this.#stream = stream
    this.#socket = (stream as { readonly socket?: Socket }).socket
    this.#keys = keys
    const close = stream.close.bind(stream)
    // libp2p closes the socket below, not this stream: what was sent until then goes first
    stream.close = options => {
      this.#flush(true)
      return close(options)
    }
    stream.addEventListener('close', event => this.#onClose(event))
    stream.addEventListener('drain', () => this.#onDrain())
    stream.addEventListener('remoteCloseWrite', () => this.onRemoteCloseWrite())
    stream.addEventListener('message', ({ data }) => this.#receive(data instanceof Uint8Array ? [data] : data))
    if (early.length > 0) this.#receive(early)
  }

  override get writeBufferLength(): number {
    return this.#unsentBytes
  }

  override send(data: Uint8Array | Uint8ArrayList): boolean {
    if (this.writeStatus !== 'writable' || this.#stream.writeStatus !== 'writable') {
      throw new StreamStateError(`Cannot write to a stream that is ${this.#stream.writeStatus}`)
    }
    if (data instanceof Uint8Array) this.#unsent.push(data)
    else for (const part of data) this.#unsent.push(part)
    this.#unsentBytes += data.byteLength
    if (this.#unsentBytes > MAX_UNSENT_CONNECTION_BYTES) {
      this.abort(new MusterError('limit-reached', 'the other side does not read'))
      return false
    }
    if (this.#unsentBytes >= FLUSH_BYTES) this.#flush()
    else this.#flushAfterThisTurn()
    return !this.writableNeedsDrain
  }

  async close(options?: AbortOptions): Promise<void> {
    await this.#stream.close(options)
  }

  /** Never called: `send` is ours, and nothing is left for libp2p's queue. */
  override sendData(data: Uint8ArrayList): SendResult {
    return { sentBytes: data.byteLength, canSendMore: this.#stream.send(data) }
  }

  override sendReset(error: Error): void {
    this.#dropUnsent()
    this.#stream.abort(error)
  }

  override sendPause(): void {
    this.#stream.pause()
  }

  override sendResume(): void {
    this.#stream.resume()
  }

  #flushAfterThisTurn(): void {
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    afterThisTurn(() => {
      this.#isFlushDue = false
      this.#flush()
    })
  }

  /** Encrypts and writes what waits, until the socket is full; `all` of it before the socket is closed. */
  #flush(all = false): void {
    try {
      while (this.#unsentBytes > 0 && this.#stream.writeStatus === 'writable') {
        if (this.writableNeedsDrain && !all) return
        if (!this.#write()) this.writableNeedsDrain = true
      }
    } catch (thrown) {
      this.abort(asError(thrown))
    }
  }

  #write(): boolean {
    const page = pages.take()
    const hasRoom = this.#stream.send(page.subarray(0, this.#seal(page)))
    if (this.#isTaken()) pages.giveBack(page)
    else this.#pageUnderWay = page
    return hasRoom
  }

  /** True when the operating system has all bytes that were written. Who has no socket below may keep them for ever. */
  #isTaken(): boolean {
    return this.#socket?.writableLength === 0 && this.#stream.writeBufferLength === 0
  }

  /** Fills `page` with messages of what waits, encrypted where they lie; returns where they end. */
  #seal(page: Buffer): number {
    const bytes = Math.min(this.#unsentBytes, WRITE_BYTES)
    let [at, left, part] = [0, bytes, 0]
    while (left > 0) {
      const length = Math.min(left, MESSAGE_BYTES)
      const start = page.writeUInt16BE(length + TAG_BYTES, at)
      const end = start + length
      for (let filled = start; filled < end; ) {
        const piece = this.#unsent[part] as Uint8Array
        if (piece.length <= end - filled) {
          page.set(piece, filled)
          filled += piece.length
          part++
        } else {
          page.set(piece.subarray(0, end - filled), filled)
          this.#unsent[part] = piece.subarray(end - filled)
          filled = end
        }
      }
      this.#keys.send.seal(page, start, end)
      at = end + TAG_BYTES
      left -= length
    }
    this.#unsentBytes -= bytes
    if (this.#unsentBytes === 0) this.#unsent = []
    else this.#unsent.splice(0, part)
    return at
  }

  #receive(chunks: Iterable<Uint8Array>): void {
    const plain = new Uint8ArrayList()
    let failure: Error | undefined
    try {
      for (const chunk of chunks) this.#parser.push(chunk, message => plain.append(this.#keys.receive.open(message)))
    } catch (thrown) {
      failure = asError(thrown)
    }
    this.onData(plain)
    if (failure !== undefined) this.abort(failure)
  }

  #onDrain(): void {
    this.writableNeedsDrain = false
    if (this.#pageUnderWay !== undefined && this.#isTaken()) pages.giveBack(this.#pageUnderWay)
    this.#pageUnderWay = undefined
    this.#flush()
    if (!this.writableNeedsDrain) this.safeDispatchEvent('drain')
  }

  #onClose(event: StreamCloseEvent): void {
    this.#dropUnsent()
    if (event.error !== undefined) {
      if (event.local === true) this.abort(event.error)
      else this.onRemoteReset()
    } else if (this.#parser.isIdle) this.onTransportClosed()
    else this.abort(new MusterError('protocol-violation', 'the connection ended inside a Noise message'))
  }

  #dropUnsent(): void {
    this.#unsent = []
    this.#unsentBytes = 0
  }
}
