import type { PeerId } from '../../shared/core/address.ts'
import type { Clock } from '../../shared/core/clock.ts'
import { asMusterError, isMusterError, MusterError } from '../../shared/core/errors.ts'
import { raceSignal } from '../../shared/core/signals.ts'
import type { TopicId } from '../../shared/core/topic.ts'
import type { Channel, Node } from '../../shared/node/port.ts'
import { MAX_MESSAGE_FRAME_BYTES, MESSAGE_PROTOCOL } from '../../shared/wire/message.ts'
import type { EncodedValue } from '../value.ts'
import { closeWithin } from './closing.ts'
import { connectError, givenUp, openingError, refusalError } from './failure.ts'
import { messageFrame, openFrame, readReply } from './frame.ts'
import type { MessagingLimits } from './limits.ts'

/** Messages that ride in the opening flight behind the first one, in bytes: well inside a stream's first window. */
const MAX_OPENING_BYTES = 65_536

export interface OutgoingNeeds {
  readonly node: Pick<Node, 'open' | 'isConnected'>
  connect(peerId: PeerId, signal: AbortSignal): Promise<void>
  ownEnvelope(topicId: TopicId): Uint8Array | undefined
  readonly clock: Clock
  /** Milliseconds, finer than the clock where there is none given. */
  now(): number
  nextId(): number
  /** Nothing waits, no receipt is due, and there is no stream, open or being opened. */
  onGone(stream: OutgoingStream): void
}

export interface OutgoingTarget {
  readonly to: PeerId
  readonly topicId: TopicId
  readonly topicKey: Uint8Array
}

export interface Sent {
  readonly id: number
  readonly rttMs: number
}

interface Send extends EncodedValue {
  /** Settles the caller's promise, once; afterwards undefined. */
  settle: ((outcome: Sent | MusterError) => void) | undefined
  handedAt: number
  hasReopened: boolean
}

/**
 * What we send to one peer in one topic: a queue in call order in front of one long-lived stream, which is opened when
 * there is something to say. A message is in exactly one of two places: *waiting* (ours; may still be given up without a
 * trace, or go to the next stream) or *handed* to the stream (it may arrive, and is never sent a second time).
 */
export class OutgoingStream {
  readonly #needs: OutgoingNeeds
  readonly #limits: MessagingLimits
  readonly #target: OutgoingTarget
  readonly #waiting: Send[] = []
  #waitingBytes = 0
  /** Handed and not receipted, by id. What its caller gave up stays here, because it still takes room over there. */
  readonly #handed = new Map<number, Send>()
  #handedBytes = 0
  #opening: AbortController | undefined
  #channel: Channel | undefined
  #pumped: Channel | undefined

  constructor(target: OutgoingTarget, needs: OutgoingNeeds, limits: MessagingLimits) {
    this.#target = target
    this.#needs = needs
    this.#limits = limits
  }

  get topicId(): TopicId {
    return this.#target.topicId
  }

  get to(): PeerId {
    return this.#target.to
  }

  /** True when nothing waits here and no receipt is due. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#handed.size === 0
  }

  /** Takes its place in the order at once, synchronously; rejects as `Group.send` says. */
  send(value: EncodedValue, timeoutMs: number, signal: AbortSignal | undefined): Promise<Sent> {
    const { maxWaitingMessages, maxWaitingBytes } = this.#limits
    if (this.#waiting.length >= maxWaitingMessages || this.#waitingBytes + value.body.length > maxWaitingBytes) {
      return Promise.reject(
        new MusterError(
          'limit-reached',
          `${this.#waiting.length} messages of ${this.#waitingBytes} bytes wait for this receiver already; wait for their receipts`
        )
      )
    }
    return new Promise((resolve, reject) => {
      const send: Send = {
        ...value,
        handedAt: 0,
        hasReopened: false,
        settle(outcome) {
          send.settle = undefined
          stopTimer()
          signal?.removeEventListener('abort', onAbort)
          if (outcome instanceof MusterError) reject(outcome)
          else resolve(outcome)
        }
      }
      const stopTimer = this.#needs.clock.after(timeoutMs, () => this.#giveUp(send, 'timed-out', timeoutMs))
      const onAbort = (): void => this.#giveUp(send, 'aborted', timeoutMs, signal?.reason)
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(send)
      this.#waitingBytes += send.body.length
      this.#advance()
    })
  }

  /** Gives up everything with `closed` and closes the stream. Never rejects. */
  async close(): Promise<void> {
    const channel = this.#channel
    this.#channel = undefined
    this.#opening?.abort(new MusterError('closed'))
    this.#opening = undefined
    this.#failAll(new MusterError('closed', 'the topic was left or the peer closed before the receipt came'))
    if (channel !== undefined) await closeWithin(channel, this.#limits.closeTimeoutMs, this.#needs.clock)
  }

  #advance(): void {
    if (this.#waiting.length === 0) return
    if (this.#channel !== undefined) void this.#pump(this.#channel)
    else if (this.#opening === undefined) void this.#open()
  }

  async #open(): Promise<void> {
    const opening = new AbortController()
    this.#opening = opening
    try {
      const channel = await this.#dial(opening.signal)
      if (this.#opening !== opening) return channel.abort(new MusterError('closed', 'nobody waits for the stream'))
      this.#opening = undefined
      this.#channel = channel
      void this.#read(channel)
      this.#advance()
    } catch (thrown) {
      if (this.#opening !== opening) return
      this.#opening = undefined
      this.#failAll(openingError(thrown))
    }
  }

  async #dial(signal: AbortSignal): Promise<Channel> {
    const { node, connect, ownEnvelope } = this.#needs
    const { to, topicId, topicKey } = this.#target
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
      const first = [openFrame(topicKey, envelope)]
      for (
        let bytes = 0, frame = this.#hand();
        frame !== undefined;
        frame = bytes < MAX_OPENING_BYTES ? this.#hand(MAX_OPENING_BYTES - bytes) : undefined
      ) {
        first.push(frame)
        bytes += frame.length
      }
      try {
        return await node.open(to, MESSAGE_PROTOCOL, { signal, first, maxFrameBytes: MAX_MESSAGE_FRAME_BYTES })
      } catch (thrown) {
        // The connection went away before anything was handed to it: the one case in which a second try sends nothing twice.
        if (!isMusterError(thrown, 'unreachable') || attempt > 1 || signal.aborted) throw thrown
        this.#takeBack()
      }
    }
  }

  /** Hands over whatever there is room for. One pump per channel at a time keeps the order. */
  async #pump(channel: Channel): Promise<void> {
    if (this.#pumped === channel) return
    this.#pumped = channel
    try {
      while (this.#channel === channel && !channel.signal.aborted) {
        const frame = this.#hand()
        if (frame === undefined) break
        await channel.send(frame)
      }
      if (this.#pumped === channel) this.#pumped = undefined
    } catch (thrown) {
      // Receipts may still lie unread, so the reader says when it is over; until then nothing more is handed to it.
      if (!isMusterError(thrown, 'closed')) channel.abort(asMusterError(thrown, 'closed'))
    }
  }

  async #read(channel: Channel): Promise<void> {
    try {
      for await (const bytes of channel.frames) {
        if (this.#channel !== channel) return
        const { id, code } = readReply(bytes)
        if (id !== undefined) this.#onReply(id, code === undefined ? undefined : refusalError(code, 'message'))
        else if (code !== undefined) {
          this.#channel = undefined
          this.#failAll(refusalError(code, 'stream'))
          return void closeWithin(channel, this.#limits.closeTimeoutMs, this.#needs.clock)
        }
      }
      this.#onBroken(channel, new MusterError('closed', 'the other side closed the stream'))
      await closeWithin(channel, this.#limits.closeTimeoutMs, this.#needs.clock)
    } catch (thrown) {
      channel.abort(asMusterError(thrown, 'closed'))
      this.#onBroken(channel, thrown)
    }
  }

  #onReply(id: number, error: MusterError | undefined): void {
    const send = this.#handed.get(id)
    if (send === undefined) throw new MusterError('protocol-violation', 'a reply to a message that was not sent')
    this.#handed.delete(id)
    this.#handedBytes -= send.body.length
    send.settle?.(error ?? { id, rttMs: Math.max(0, this.#needs.now() - send.handedAt) })
    this.#advance()
  }

  #onBroken(channel: Channel, thrown: unknown): void {
    if (this.#channel !== channel) return
    this.#channel = undefined
    const text = 'the stream broke before the receipt came; the message may have been delivered or not'
    this.#failHanded(new MusterError('closed', text, { cause: thrown }))
    for (const send of this.#waiting.splice(0)) {
      if (send.hasReopened) {
        this.#waitingBytes -= send.body.length
        send.settle?.(new MusterError('closed', 'the stream broke twice; the message was not sent', { cause: thrown }))
      } else {
        send.hasReopened = true
        this.#waiting.push(send)
      }
    }
    this.#advance()
    this.#leaveWhenGone()
  }

  /** The next message as a frame, if the window and `maxBytes` have room for it. */
  #hand(maxBytes = Number.POSITIVE_INFINITY): Uint8Array | undefined {
    const { maxUnreceiptedMessages, maxUnreceiptedBytes } = this.#limits
    const [send] = this.#waiting
    if (send === undefined || send.body.length > maxBytes) return undefined
    const hasRoom =
      this.#handed.size < maxUnreceiptedMessages && this.#handedBytes + send.body.length <= maxUnreceiptedBytes
    if (!hasRoom && this.#handed.size > 0) return undefined
    this.#waiting.shift()
    this.#waitingBytes -= send.body.length
    const id = this.#needs.nextId()
    send.handedAt = this.#needs.now()
    this.#handed.set(id, send)
    this.#handedBytes += send.body.length
    return messageFrame(id, send.kind, send.body)
  }

  /** Puts what was handed to a stream that never existed back in front of the queue. */
  #takeBack(): void {
    const sends = [...this.#handed.values()].filter(send => send.settle !== undefined)
    this.#handed.clear()
    this.#handedBytes = 0
    this.#waiting.unshift(...sends)
    for (const send of sends) this.#waitingBytes += send.body.length
  }

  #giveUp(send: Send, code: 'timed-out' | 'aborted', timeoutMs: number, reason?: unknown): void {
    if (send.settle === undefined) return
    const at = this.#waiting.indexOf(send)
    if (at >= 0) {
      this.#waiting.splice(at, 1)
      this.#waitingBytes -= send.body.length
    }
    const what = code === 'aborted' ? 'the send was cancelled' : `no receipt within ${timeoutMs} ms`
    const state = at >= 0 ? 'the message was not sent' : 'the message may have been delivered or not'
    send.settle(givenUp(code, `${what}; ${state}`, reason))
    const isWanted = this.#waiting.length > 0 || [...this.#handed.values()].some(({ settle }) => settle !== undefined)
    if (this.#opening !== undefined && !isWanted) {
      this.#opening.abort(new MusterError('aborted', 'nobody waits for the stream'))
      this.#opening = undefined
      this.#failAll(new MusterError('aborted'))
    } else if (at === 0) this.#advance()
  }

  #failHanded(error: MusterError): void {
    const sends = [...this.#handed.values()]
    this.#handed.clear()
    this.#handedBytes = 0
    for (const send of sends) send.settle?.(error)
  }

  #failAll(error: MusterError): void {
    const sends = this.#waiting.splice(0)
    this.#waitingBytes = 0
    this.#failHanded(error)
    for (const send of sends) send.settle?.(error)
    this.#leaveWhenGone()
  }

  /** A stream with nothing to say, and nowhere to say it, is not remembered. */
  #leaveWhenGone(): void {
    if (this.isIdle && this.#channel === undefined && this.#opening === undefined) this.#needs.onGone(this)
  }
}
