import type { PeerId } from '../../shared/core/address.ts'
import { asMusterError, isMusterError, MusterError } from '../../shared/core/errors.ts'
import { raceSignal } from '../../shared/core/signals.ts'
import type { TopicId } from '../../shared/core/topic.ts'
import { closeWithin } from '../../shared/node/closing.ts'
import type { Channel, Node } from '../../shared/node/port.ts'
import { MAX_MESSAGE_FRAME_BYTES, MESSAGE_PROTOCOL, PART_BYTES } from '../../shared/wire/message.ts'
import type { Progress, Value } from '../api.ts'
import type { Context, HandOptions } from './context.ts'
import { Exchange } from './exchange.ts'
import { connectError, openingError, refusalError } from './failure.ts'
import { openFrame } from './frame.ts'
import { RETRY_MAX_MS, RETRY_MIN_MS } from './limits.ts'
import type { Outbox } from './outbox.ts'
import type { Sent } from './outgoing.ts'

export interface LineNeeds {
  readonly node: Pick<Node, 'open' | 'isConnected'>
  readonly context: Context
  /** Ours, the same for all lines. */
  readonly session: number
  connect(peerId: PeerId, signal: AbortSignal): Promise<void>
  ownEnvelope(topicId: TopicId): Uint8Array | undefined
  /** See `MessagingNeeds`. */
  isKnown(topicId: TopicId, peerId: PeerId): boolean
  /** Nothing waits, nothing is due, and there is no stream, open or being opened. */
  onGone(line: Line): void
  /** A large answer is on its way to us. */
  onProgress(from: PeerId, topicId: TopicId, id: string, progress: Progress): void
}

export interface LineTarget {
  readonly to: PeerId
  readonly topicId: TopicId
  readonly topicKey: Uint8Array
}

/**
 * What we say to one peer in one topic: an outbox in front of one long-lived stream, which is opened when there is
 * something to say, and opened again for those who wait for a member that is away.
 */
export class Line {
  readonly #needs: LineNeeds
  readonly #target: LineTarget
  readonly #outbox: Outbox
  #opening: AbortController | undefined
  #exchange: Exchange | undefined
  #undoRetry: (() => void) | undefined
  #failures = 0
  #usedAt = 0
  /** Messages that were answered when the stream before broke. */
  #answeredBefore = -1

  constructor(target: LineTarget, needs: LineNeeds) {
    this.#target = target
    this.#needs = needs
    this.#outbox = needs.context.outboxTo(target.to, () => this.#advance())
  }

  get topicId(): TopicId {
    return this.#target.topicId
  }

  get to(): PeerId {
    return this.#target.to
  }

  /** When something was last sent here, on the clock. */
  get usedAt(): number {
    return this.#usedAt
  }

  /** True when nothing waits here and nothing is due. */
  get isIdle(): boolean {
    return this.#outbox.isIdle
  }

  /** Takes its place in the order at once, synchronously; throws or rejects as `Group.send` says. */
  send(value: Value, options: HandOptions): Promise<Sent> {
    this.retry() // whoever does not wait hears at once whether the member is there
    this.#usedAt = this.#needs.context.clock.now()
    return this.#needs.context.hand(this.#outbox, value, options)
  }

  /** The member may be back: whoever waits for it need not wait for the next attempt. */
  retry(): void {
    if (this.#undoRetry === undefined) return
    this.#stopRetry()
    this.#advance()
  }

  /** The member left or was lost. Those who may wait for it go on waiting. */
  async abandon(reason: MusterError): Promise<void> {
    const now = this.#needs.context.clock.now()
    const handed = new MusterError(reason.code, `${reason.message}; the message may have been delivered or not`)
    const waiting = new MusterError(reason.code, `${reason.message}; the message was not sent`)
    const closed = this.#stop(() => {
      this.#outbox.onBroken(handed, waiting, now)
      this.#outbox.failWaiting(waiting, now)
    })
    this.#retryLater()
    await closed
  }

  /** Gives up everything with `closed` and closes the stream. Never rejects. */
  async close(): Promise<void> {
    this.#stopRetry()
    const error = new MusterError('closed', 'the topic was left or the peer closed before the receipt came')
    await this.#stop(() => this.#outbox.close(error))
  }

  async #stop(fail: () => void): Promise<void> {
    const exchange = this.#exchange
    this.#exchange = undefined
    this.#opening?.abort(new MusterError('closed'))
    this.#opening = undefined
    fail()
    if (exchange === undefined) return
    exchange.end(new MusterError('closed', 'the topic was left, the member is gone, or the peer closed'))
    await this.#closeChannel(exchange.channel)
  }

  #advance(): void {
    if (this.#exchange !== undefined) this.#exchange.wake()
    else if (this.#opening !== undefined) this.#stopOpeningWhenUnwanted()
    else if (this.#undoRetry === undefined && this.#outbox.isWaiting) void this.#open()
    else this.#leaveWhenGone()
  }

  async #open(): Promise<void> {
    const opening = new AbortController()
    this.#opening = opening
    try {
      await Promise.resolve() // what is said in the same turn goes along
      const channel = await this.#dial(opening.signal)
      if (this.#opening !== opening) return channel.abort(new MusterError('closed', 'nobody waits for the stream'))
      this.#opening = undefined
      void this.#read(channel)
    } catch (thrown) {
      if (this.#opening !== opening) return
      this.#opening = undefined
      const now = this.#needs.context.clock.now()
      const error = openingError(thrown)
      // with any other error the first flight may have arrived, although nobody can answer it
      if (isMusterError(thrown, 'unreachable')) this.#outbox.takeBack()
      else this.#outbox.onBroken(error, error, now)
      this.#outbox.failWaiting(error, now)
      this.#retryLater()
    }
  }

  async #dial(signal: AbortSignal): Promise<Channel> {
    const { node, connect, ownEnvelope, isKnown, session, context } = this.#needs
    const { to, topicId, topicKey } = this.#target
    if (!isKnown(topicId, to)) throw new MusterError('unreachable', 'it is not in the topic, as far as is known')
    for (let attempt = 1; ; attempt++) {
      if (!node.isConnected(to)) {
        try {
          await raceSignal(connect(to, signal), signal)
        } catch (thrown) {
          throw connectError(thrown)
        }
      }
      const envelope = ownEnvelope(topicId)
      if (envelope === undefined) throw new MusterError('not-a-member', 'this peer is not in the topic')
      signal.throwIfAborted() // another attempt may have begun: what waits is for that one
      const open = openFrame({ topic: topicKey, envelope, session, ...context.terms })
      const first = [open, ...this.#outbox.next(PART_BYTES)]
      try {
        return await node.open(to, MESSAGE_PROTOCOL, { signal, first, maxFrameBytes: MAX_MESSAGE_FRAME_BYTES })
      } catch (thrown) {
        // The connection went away before anything was handed to it: the one case in which all of it may be said again.
        if (!isMusterError(thrown, 'unreachable') || attempt > 1 || signal.aborted) throw thrown
        this.#outbox.takeBack()
      }
    }
  }

  async #read(channel: Channel): Promise<void> {
    let refusal: MusterError | undefined
    const exchange = new Exchange(channel, {
      context: this.#needs.context,
      outbox: this.#outbox,
      onProgress: (id, progress) => this.#needs.onProgress(this.to, this.topicId, String(id), progress),
      onWelcome: ({ encodings = 0, maxBytes }) => {
        this.#outbox.terms = { encodings, maxBytes }
        this.#failures = 0 // a stream that is opened may be refused still
      },
      onStreamRefused: code => {
        refusal = refusalError(code, 'stream')
        throw refusal
      }
    })
    this.#exchange = exchange
    exchange.wake()
    try {
      await exchange.read(channel.batches[Symbol.asyncIterator]())
      this.#onBroken(exchange, new MusterError('gone', 'the other side closed the stream'))
      await this.#closeChannel(channel)
    } catch (thrown) {
      if (refusal === undefined) channel.abort(asMusterError(thrown, 'closed'))
      else void this.#closeChannel(channel)
      this.#onBroken(exchange, thrown, refusal)
    }
  }

  #onBroken(exchange: Exchange, thrown: unknown, refusal?: MusterError): void {
    if (this.#exchange !== exchange) return
    this.#exchange = undefined
    const { clock } = this.#needs.context
    // it ends a stream in order when it leaves or closes; that may be here before its goodbye
    const isGone = isMusterError(thrown, 'gone') || !this.#needs.node.isConnected(this.to)
    const code = isGone ? 'gone' : 'closed'
    const text = 'the stream broke before the receipt came; the message may have been delivered or not'
    const again = 'the stream broke twice; the message was not sent'
    exchange.end(new MusterError(code, 'the stream broke', { cause: thrown }))
    if (refusal !== undefined) {
      this.#outbox.onBroken(refusal, refusal, clock.now())
      this.#outbox.failWaiting(refusal, clock.now())
      this.#retryLater() // a member that is just back may not be in the topic again yet
      return
    }
    this.#outbox.onBroken(
      new MusterError(code, text, { cause: thrown }),
      new MusterError('closed', again, { cause: thrown }),
      clock.now()
    )
    const isInVain = this.#outbox.answered === this.#answeredBefore
    this.#answeredBefore = this.#outbox.answered
    // a member that takes streams and breaks them is not asked for one after the other by those who can wait
    if (isInVain && this.#outbox.waitsUntil > clock.now()) this.#retryLater()
    else this.#advance()
  }

  /** For those who wait for a member that is away. */
  #retryLater(): void {
    const { clock } = this.#needs.context
    if (!this.#outbox.isWaiting) {
      this.#leaveWhenGone()
      return
    }
    const leftMs = this.#outbox.waitsUntil - clock.now()
    const pauseMs = Math.min(leftMs, RETRY_MAX_MS, RETRY_MIN_MS * 2 ** this.#failures++)
    this.#undoRetry ??= clock.after(pauseMs, () => {
      this.#undoRetry = undefined
      const away = new MusterError('unreachable', 'the member did not come back in time; the message was not sent')
      this.#outbox.failWaiting(away, clock.now())
      this.#advance()
    })
  }

  #stopRetry(): void {
    this.#undoRetry?.()
    this.#undoRetry = undefined
  }

  #stopOpeningWhenUnwanted(): void {
    if (this.#outbox.isWanted) return
    this.#opening?.abort(new MusterError('aborted', 'nobody waits for the stream'))
    this.#opening = undefined
    this.#outbox.failAll(new MusterError('aborted'))
    this.#leaveWhenGone()
  }

  /** A line with nothing to say, and nowhere to say it, is not remembered. */
  #leaveWhenGone(): void {
    if (this.isIdle && this.#exchange === undefined && this.#opening === undefined) this.#needs.onGone(this)
  }

  #closeChannel(channel: Channel): Promise<void> {
    const { limits, clock } = this.#needs.context
    return closeWithin(channel, limits.closeTimeoutMs, clock)
  }
}
