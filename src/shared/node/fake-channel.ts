import type { PeerId } from '../core/address.ts'
import { MusterError } from '../core/errors.ts'
import { framesOf, onceIterable } from './batches.ts'
import type { Channel } from './port.ts'

/** Bytes one side may have under way before `send` waits for the reader: yamux's initial window. */
export const FAKE_WINDOW_BYTES = 256 * 1024
/** What a frame costs besides its bytes, so that empty frames are bounded too. */
const FRAME_COST_BYTES = 16

/** How a channel reaches its other end: in order, some time later. */
export type Carry = (arrive: () => void) => void

interface Turn {
  resolve(): void
  reject(error: Error): void
}

/** One end of a channel of the fake network. The two ends call each other only through `carry`. */
export class FakeChannel implements Channel {
  readonly peerId: PeerId
  readonly inbound: boolean
  readonly protocol: string
  readonly signal: AbortSignal
  readonly batches: AsyncIterable<readonly Uint8Array[]>
  readonly frames: AsyncIterable<Uint8Array>

  /** The other end; set by whoever makes the pair. */
  other: FakeChannel | undefined
  readonly #carry: Carry
  readonly #onOver: () => void
  readonly #maxFrameBytes: number
  readonly #over = new AbortController()
  readonly #inbox: Uint8Array[] = []
  readonly #senders: Turn[] = []
  #underWayBytes = 0
  #hasEnded = false
  #hasRemoteEnded = false
  /** The other side reads nothing any more. */
  #isUnread = false
  #wake: (() => void) | undefined
  #failure: MusterError | undefined

  constructor(init: {
    peerId: PeerId
    inbound: boolean
    protocol: string
    maxFrameBytes: number
    carry: Carry
    /** Called once, when nothing more can be sent or read. */
    onOver(channel: FakeChannel): void
  }) {
    this.peerId = init.peerId
    this.inbound = init.inbound
    this.protocol = init.protocol
    this.#maxFrameBytes = init.maxFrameBytes
    this.#carry = init.carry
    this.#onOver = () => init.onOver(this)
    this.signal = this.#over.signal
    this.batches = onceIterable(() => this.#read())
    this.frames = framesOf(this.batches, () => this.#failure !== undefined)
  }

  async send(frame: Uint8Array): Promise<void> {
    if (this.signal.aborted) throw this.signal.reason
    if (this.#isUnread) throw new MusterError('closed', 'the other side closed the channel')
    if (this.#hasEnded) throw new MusterError('closed', 'the channel is being closed')
    if (frame.length > this.#maxFrameBytes) {
      throw new MusterError('too-large', `a frame of ${frame.length} bytes; at most ${this.#maxFrameBytes}`)
    }
    const copy = frame.slice() // the caller may reuse its buffer, and the reader may write into its own
    this.#underWayBytes += costOf(copy)
    this.#carry(() => this.other?.receive(copy))
    if (this.#underWayBytes > FAKE_WINDOW_BYTES) {
      await new Promise<void>((resolve, reject) => this.#senders.push({ resolve, reject }))
    }
  }

  async end(): Promise<void> {
    if (this.signal.aborted || this.#hasEnded) return
    this.#hasEnded = true
    this.#carry(() => this.other?.receiveEnd(false))
    for (const sender of this.#senders.splice(0)) sender.resolve() // those frames are on their way already
    this.#finishWhenRead()
  }

  async close(): Promise<void> {
    if (this.signal.aborted) return
    this.#carry(() => this.other?.receiveEnd(true))
    for (const sender of this.#senders.splice(0)) sender.resolve()
    this.#finish(new MusterError('closed', 'the channel was closed'))
  }

  abort(reason: Error): void {
    if (this.signal.aborted) return
    this.#carry(() => this.other?.fail(new MusterError('closed', 'the other side aborted the channel')))
    this.#break(
      reason instanceof MusterError ? reason : new MusterError('closed', 'the channel was aborted', { cause: reason })
    )
  }

  /** A frame arrived. */
  receive(frame: Uint8Array): void {
    if (this.signal.aborted) return
    if (frame.length > this.#maxFrameBytes) {
      this.abort(
        new MusterError(
          'too-large',
          `the other side sent a frame of ${frame.length} bytes; at most ${this.#maxFrameBytes}`
        )
      )
      return
    }
    this.#inbox.push(frame)
    this.#wake?.()
  }

  /** The other side closed its half, or both; what arrived before can still be read. */
  receiveEnd(isBoth: boolean): void {
    if (this.signal.aborted) return
    this.#hasRemoteEnded = true
    if (isBoth) this.#giveUpSending()
    this.#finishWhenRead()
    this.#wake?.()
  }

  /** The channel broke: nothing of it is left. A channel the other side closed before stays readable. */
  fail(reason: MusterError): void {
    if (this.signal.aborted) return
    if (!this.#hasRemoteEnded) {
      this.#break(reason)
      return
    }
    this.#giveUpSending()
    this.#finishWhenRead()
  }

  #giveUpSending(): void {
    this.#isUnread = true
    for (const sender of this.#senders.splice(0)) {
      sender.reject(new MusterError('closed', 'the other side closed the channel'))
    }
  }

  #finishWhenRead(): void {
    const isOver = this.#hasRemoteEnded && (this.#isUnread || this.#hasEnded) && this.#inbox.length === 0
    if (isOver && !this.signal.aborted) this.#finish(new MusterError('closed', 'the other side closed the channel'))
  }

  #break(reason: MusterError): void {
    for (const sender of this.#senders.splice(0)) sender.reject(reason)
    this.#failure = reason
    this.#finish(reason)
  }

  #finish(reason: MusterError): void {
    this.#inbox.length = 0
    this.#over.abort(reason)
    this.#wake?.()
    this.#onOver()
  }

  /** The other side took frames out. */
  taken(bytes: number): void {
    this.#underWayBytes -= bytes
    if (this.#underWayBytes > FAKE_WINDOW_BYTES) return
    for (const sender of this.#senders.splice(0)) sender.resolve()
  }

  async *#read(): AsyncGenerator<readonly Uint8Array[]> {
    for (;;) {
      if (this.#inbox.length > 0) {
        const batch = this.#inbox.splice(0)
        const bytes = batch.reduce((sum, frame) => sum + costOf(frame), 0)
        this.#carry(() => this.other?.taken(bytes))
        this.#finishWhenRead()
        yield batch
        continue
      }
      if (this.#failure !== undefined) throw this.#failure
      if (this.#hasRemoteEnded || this.signal.aborted) return
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }
}

function costOf(frame: Uint8Array): number {
  return frame.length + FRAME_COST_BYTES
}
