import type { PeerId } from '../../shared/core/address.ts'
import type { Clock } from '../../shared/core/clock.ts'
import { asMusterError, MusterError } from '../../shared/core/errors.ts'
import type { Undo } from '../../shared/core/lifecycle.ts'
import type { TopicId } from '../../shared/core/topic.ts'
import { closeWithin } from '../../shared/node/closing.ts'
import type { Channel } from '../../shared/node/port.ts'
import type { StreamFrame } from '../../shared/wire/stream.ts'
import type { ByteStream } from '../api.ts'
import { DONE_FRAME, END_FRAME, readFrame } from './frame.ts'
import { Inbox } from './inbox.ts'
import type { StreamLimits } from './limits.ts'
import { Outbox } from './outbox.ts'

/** A stream that was opened and taken; of its channel nothing was read but what opened it. */
export interface TakenStream {
  readonly channel: Channel
  readonly frames: AsyncIterator<Uint8Array>
  readonly topic: { readonly id: TopicId; readonly name: string }
  readonly name: string
  /** Nothing more goes over the channel: both halves ended in order, or it broke. Called once. */
  onOver(stream: RawStream, outcome: 'ended' | 'broken'): void
}

/**
 * The bytes of one raw stream. Each half ends with END from whoever writes it and DONE from whoever reads it, in any
 * order; the channel below is closed once both halves had both, so that closing can cut nothing off.
 */
export class RawStream implements ByteStream {
  readonly peerId: PeerId
  readonly topic: string
  readonly topicId: TopicId
  readonly name: string
  readonly signal: AbortSignal
  readonly #taken: TakenStream
  readonly #limits: StreamLimits
  readonly #clock: Clock
  readonly #inbox: Inbox
  readonly #outbox: Outbox
  readonly #over = new AbortController()
  #hasEnd = false
  #hasDone = false
  #isOver = false
  #failure: MusterError | undefined
  readonly #delivered = Promise.withResolvers<void>()
  #stopLingering: Undo | undefined

  constructor(taken: TakenStream, limits: StreamLimits, clock: Clock) {
    const { channel, topic, name } = taken
    this.peerId = channel.peerId
    this.topic = topic.name
    this.topicId = topic.id
    this.name = name
    this.signal = this.#over.signal
    this.#taken = taken
    this.#limits = limits
    this.#clock = clock
    this.#inbox = new Inbox({
      maxBytes: limits.maxUnreadBytes,
      onStopped: () => {
        this.#outbox.sendControl(DONE_FRAME)
        this.#settleSignal()
      }
    })
    this.#outbox = new Outbox(channel, {
      maxWaitingBytes: limits.maxUnsentBytes,
      onOverflow: error => this.abort(error),
      onSent: () => this.#finishWhenDone()
    })
    this.#delivered.promise.catch(() => undefined) // whoever closes hears of it
    channel.signal.addEventListener('abort', () => this.#inbox.openGate(), { once: true })
    void this.#receive(taken.frames)
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#outbox.write(bytes)
  }

  end(): Promise<void> {
    return this.#outbox.end(END_FRAME)
  }

  async close(): Promise<void> {
    this.#inbox.stop(closedHere())
    this.#settleSignal()
    if (this.#isOver) return
    this.end().catch(() => undefined) // said by what is awaited below
    this.#stopLingering ??= this.#clock.after(this.#limits.lingerMs, () =>
      this.abort(
        new MusterError('timed-out', `the other side did not take the rest within ${this.#limits.lingerMs} ms`)
      )
    )
    await this.#delivered.promise
  }

  abort(reason: Error = new MusterError('closed', 'the stream was aborted')): void {
    const error = asMusterError(reason, 'closed', 'the stream was aborted')
    this.#inbox.stop(error)
    if (!this.#isOver) this.#taken.channel.abort(error)
    this.#fail(error)
    this.#settleSignal()
  }

  /** Ends a stream whose topic is left: what was written before its end may still arrive, within a second. */
  async leave(error: MusterError): Promise<void> {
    if (!this.#outbox.hasEnded || this.#isOver) return this.abort(error)
    const stop = this.#clock.after(this.#limits.closeTimeoutMs, () => this.abort(error))
    await this.#delivered.promise.catch(() => undefined)
    stop()
    if (!this.#isOver) this.abort(error)
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this.#inbox.iterate(() => this.#settleSignal())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #receive(frames: AsyncIterator<Uint8Array>): Promise<void> {
    const { channel } = this.#taken
    try {
      for (let next = await frames.next(); next.done !== true; next = await frames.next()) {
        this.#take(readFrame(next.value))
        if (this.#isOver) return
        // What lies in a channel that is gone is bounded, and says how it ended.
        if (this.#inbox.isFull && !channel.signal.aborted) await this.#inbox.gate()
      }
      throw new MusterError('closed', 'the other side broke the stream')
    } catch (thrown) {
      const error = asMusterError(thrown, 'closed')
      channel.abort(error)
      this.#fail(brokenBy(error))
    }
  }

  #take({ data, end, done }: StreamFrame): void {
    if (data !== undefined && data.length > 0 && !this.#hasEnd) this.#inbox.push(data)
    else if (end !== undefined && !this.#hasEnd) {
      this.#hasEnd = true
      this.#inbox.end()
    } else if (done !== undefined && !this.#hasDone) {
      this.#hasDone = true
      // Before our END it means that nobody wants the rest.
      this.#outbox.cut(new MusterError('closed', 'the other side reads no more'), END_FRAME)
      this.#delivered.resolve()
    } else throw new MusterError('protocol-violation', 'a frame that has no place here')
    if (data === undefined) this.#finishWhenDone()
  }

  #finishWhenDone(): void {
    if (this.#isOver || !this.#hasEnd || !this.#hasDone || !this.#outbox.isDone) return
    this.#isOver = true
    this.#stopLingering?.()
    void closeWithin(this.#taken.channel, this.#limits.closeTimeoutMs, this.#clock)
    this.#settleSignal()
    this.#taken.onOver(this, 'ended')
  }

  #fail(error: MusterError): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#failure = error
    this.#stopLingering?.()
    this.#inbox.fail(error)
    this.#outbox.fail(error)
    this.#delivered.reject(error)
    this.#over.abort(error)
    this.#taken.onOver(this, 'broken')
  }

  /** What has come and was not read yet can still be read. */
  #settleSignal(): void {
    if (!this.#isOver || this.signal.aborted || !this.#inbox.isDrained) return
    this.#over.abort(this.#failure ?? new MusterError('closed', 'the stream has ended'))
  }
}

/** Whatever the other side, or the network, did to the stream is `closed` to its users. */
function brokenBy(error: MusterError): MusterError {
  if (error.code === 'closed' || error.code === 'gone') return error
  return new MusterError('closed', 'the other side broke the stream', { cause: error })
}

function closedHere(): MusterError {
  return new MusterError('closed', 'the stream was closed at this side')
}
