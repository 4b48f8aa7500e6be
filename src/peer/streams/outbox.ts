import { concatBytes } from '../../shared/core/bytes.ts'
import { asMusterError, MusterError } from '../../shared/core/errors.ts'
import type { Channel } from '../../shared/node/port.ts'
import { MAX_STREAM_DATA_BYTES } from '../../shared/wire/stream.ts'
import { dataFrame } from './frame.ts'

interface Write {
  readonly bytes: Uint8Array
  at: number
  resolve(): void
  reject(error: MusterError): void
}

export interface OutboxInit {
  /** Bytes that may wait behind a write that waits already. */
  readonly maxWaitingBytes: number
  /** More waits than may; must fail the stream. */
  onOverflow(error: MusterError): void
  /** The end of our half, or a control frame, is in the channel. */
  onSent(): void
}

/** Writes in call order, as frames: large ones cut, small ones of one tick joined. */
export class Outbox {
  readonly #channel: Channel
  readonly #init: OutboxInit
  readonly #writes: Write[] = []
  #waitingBytes = 0
  readonly #controls: Uint8Array[] = []
  #endFrame: Uint8Array | undefined
  #hasSentEnd = false
  #sentControls = 0
  #failure: MusterError | undefined
  /** Why writes were given up, if any were. */
  #givenUp: MusterError | undefined
  #isSending = false
  readonly #ended = Promise.withResolvers<void>()

  constructor(channel: Channel, init: OutboxInit) {
    this.#channel = channel
    this.#init = init
    void forWhoeverAwaits(this.#ended.promise)
  }

  /** Nothing more is written. */
  get hasEnded(): boolean {
    return this.#endFrame !== undefined
  }

  /** END and the one control frame are in the channel. */
  get isDone(): boolean {
    return this.#hasSentEnd && this.#sentControls > 0
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return forWhoeverAwaits(Promise.reject(this.#failure))
    if (this.hasEnded) return Promise.reject(new MusterError('closed', 'this half of the stream was ended'))
    if (!(bytes instanceof Uint8Array)) {
      return Promise.reject(new MusterError('value-invalid', `a stream takes a Uint8Array, not a ${typeof bytes}`))
    }
    if (bytes.length === 0) return Promise.resolve()
    const { maxWaitingBytes } = this.#init
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes.length > maxWaitingBytes) {
      // refusing this one write would leave a hole where nobody looks at what it answers
      const what = `${this.#waitingBytes} bytes of writes wait already; await them`
      this.#init.onOverflow(new MusterError('limit-reached', what))
      return this.write(bytes)
    }
    this.#waitingBytes += bytes.length
    const written = new Promise<void>((resolve, reject) => {
      this.#writes.push({ bytes, at: 0, resolve, reject })
    })
    void this.#send()
    return forWhoeverAwaits(written)
  }

  /** Resolves once everything written, and `frame` behind it, is in the channel; rejects when a write was given up. */
  end(frame: Uint8Array): Promise<void> {
    if (this.#failure === undefined && !this.hasEnded) {
      this.#endFrame = frame
      void this.#send()
    }
    return this.#ended.promise
  }

  /** Ends our half now: what waits is given up. */
  cut(error: MusterError, frame: Uint8Array): void {
    if (this.#hasSentEnd) return
    this.#failure ??= error
    this.#rejectWrites(error)
    this.#endFrame ??= frame
    void this.#send()
  }

  /** Goes ahead of what waits. */
  sendControl(frame: Uint8Array): void {
    this.#controls.push(frame)
    void this.#send()
  }

  /** The channel is gone. */
  fail(error: MusterError): void {
    this.#failure ??= error
    this.#rejectWrites(error)
    this.#ended.reject(error)
  }

  async #send(): Promise<void> {
    if (this.#isSending) return
    this.#isSending = true
    try {
      await undefined // what is written in the same tick goes into one frame
      // asked anew without a pause between the last look and the end of the loop: a write may come at any moment
      for (let next = this.#next(); next !== undefined; next = this.#next()) await next
    } catch (thrown) {
      this.fail(asMusterError(thrown, 'closed')) // whoever reads the channel says when it is over
    } finally {
      this.#isSending = false
    }
  }

  /** Hands the next frame to the channel; undefined when there is none. */
  #next(): Promise<void> | undefined {
    const control = this.#controls.shift()
    if (control !== undefined) return this.#sendControl(control)
    if (this.#writes.length > 0) return this.#sendData()
    return this.#endFrame !== undefined && !this.#hasSentEnd ? this.#sendEnd(this.#endFrame) : undefined
  }

  async #sendControl(frame: Uint8Array): Promise<void> {
    await this.#channel.send(frame)
    this.#sentControls++
    this.#init.onSent()
  }

  async #sendEnd(frame: Uint8Array): Promise<void> {
    this.#hasSentEnd = true
    await this.#channel.send(frame)
    if (this.#givenUp !== undefined) this.#ended.reject(this.#givenUp)
    else this.#ended.resolve()
    this.#init.onSent()
  }

  /** One frame of what waits. A write resolves when its last byte is in the channel, and there is room for more. */
  async #sendData(): Promise<void> {
    const whole: Write[] = []
    const parts: Uint8Array[] = []
    let room = MAX_STREAM_DATA_BYTES
    for (const write of this.#writes) {
      const part = write.bytes.subarray(write.at, write.at + room)
      parts.push(part)
      room -= part.length
      write.at += part.length
      if (write.at < write.bytes.length) break
      whole.push(write)
      if (room === 0) break
    }
    await this.#channel.send(dataFrame(concatBytes(parts)))
    for (const write of whole) {
      if (this.#writes[0] !== write) return // given up meanwhile
      this.#writes.shift()
      this.#waitingBytes -= write.bytes.length
      write.resolve()
    }
  }

  #rejectWrites(error: MusterError): void {
    if (this.#writes.length > 0) this.#givenUp ??= error
    for (const write of this.#writes.splice(0)) write.reject(error)
    this.#waitingBytes = 0
  }
}

/** The other side can break a stream at any time: that must not end a program which awaits only the end of its writes. */
function forWhoeverAwaits<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined)
  return promise
}
