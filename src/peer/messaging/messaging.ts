import type { PeerId } from '../../shared/core/address.ts'
import { type Clock, systemClock } from '../../shared/core/clock.ts'
import { asMusterError, type ErrorCode, MusterError } from '../../shared/core/errors.ts'
import { type Closable, Scope } from '../../shared/core/lifecycle.ts'
import type { TopicId } from '../../shared/core/topic.ts'
import type { Node } from '../../shared/node/port.ts'
import { MAX_MESSAGE_FRAME_BYTES, MESSAGE_PROTOCOL } from '../../shared/wire/message.ts'
import type { SendOptions, Value } from '../api.ts'
import { encodeValue } from '../value.ts'
import type { RefusalCode } from './frame.ts'
import { type Delivery, Incoming } from './incoming.ts'
import { DEFAULTS, type MessagingLimits } from './limits.ts'
import { OutgoingStream, type Sent } from './outgoing.ts'

export type { Delivery } from './incoming.ts'

/** What messaging reports to whoever counts. Labels are closed sets. */
export interface MessagingMetrics {
  /** A send ended: with a receipt after `rttMs`, or with an error. */
  onSent(outcome: 'receipt' | ErrorCode, rttMs?: number): void
  /** A message from another peer was taken by the application or refused; also a stream refused as a whole. */
  onReceived(outcome: 'taken' | RefusalCode): void
}

export interface MessagingNeeds {
  readonly node: Pick<Node, 'peerId' | 'open' | 'handle' | 'isConnected'>
  /**
   * Dials a member. @throws MusterError `unreachable` | `timed-out`.
   */
  connect(peerId: PeerId, signal: AbortSignal): Promise<void>
  readonly membership: {
    /** Our signed member record; undefined when we are not in the topic. */
    ownEnvelope(topicId: TopicId): Uint8Array | undefined
    /**
     * Verifies a sender's record and makes it known.
     * @throws MusterError `not-a-member` | `protocol-violation`.
     */
    admit(topicId: TopicId, peerId: PeerId, envelope: Uint8Array): Promise<void>
  }
  /** Gives a message to the application. Whatever it throws, the sender hears `refused`. */
  deliver(message: Delivery): void | Promise<void>
  readonly metrics?: MessagingMetrics
  readonly clock?: Clock
}

/** The other side's application took the message. */
export interface SendReceipt {
  readonly to: PeerId
  /** Unique among the messages this peer sent since it started; the receiver sees the same. */
  readonly id: string
  /** From handing the message to the stream until the receipt came, in milliseconds. */
  readonly rttMs: number
}

/** Direct messages of one peer, in all its topics. See docs/protocols/message.md. */
export interface Messaging extends Closable {
  /**
   * Sends one value and waits for the receipt. Values to one receiver in one topic arrive in call order, up to 256 of
   * them (or 4 MiB) under way at once; more wait for room. Nothing is sent twice.
   *
   * Not delivered for certain: `value-invalid`, `too-large`, `limit-reached` (4,096 messages or 64 MiB wait already, or
   * the other side holds no more streams), `not-a-member` (either side), `unreachable`. `refused`: no handler took it, or
   * the handler threw. Delivered or not, nobody knows: `closed` (the stream broke or was closed before the receipt),
   * `timed-out` and `aborted`; their message says "was not sent" when that is known.
   * @throws MusterError with one of these codes, or `options-invalid` for a time-out that is no positive number.
   */
  send(topicId: TopicId, topicKey: Uint8Array, to: PeerId, value: Value, options?: SendOptions): Promise<SendReceipt>
  /** Closes the streams of a topic; what has no receipt yet fails with `closed`. Never rejects. */
  forget(topicId: TopicId): Promise<void>
}

/** Longest time-out a timer takes; a larger one would fire at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

/** Serves the message protocol on a node and sends over it. */
export function createMessaging(needs: MessagingNeeds, options: Partial<MessagingLimits> = {}): Messaging {
  const limits: MessagingLimits = { ...DEFAULTS, ...options }
  const { node, membership, metrics, clock = systemClock } = needs
  const scope = new Scope()
  const outgoing = new Map<string, OutgoingStream>()
  let lastId = 0
  const outgoingNeeds = {
    node,
    clock,
    connect: (peerId: PeerId, signal: AbortSignal) => needs.connect(peerId, signal),
    ownEnvelope: (topicId: TopicId) => membership.ownEnvelope(topicId),
    now: needs.clock === undefined ? () => performance.now() : () => clock.now(),
    nextId: () => ++lastId,
    onGone(stream: OutgoingStream) {
      const key = `${stream.to} ${stream.topicId}`
      if (outgoing.get(key) === stream) outgoing.delete(key)
    }
  }

  const incoming = new Incoming(
    {
      clock,
      isMember: topicId => membership.ownEnvelope(topicId) !== undefined,
      admit: (topicId, peerId, envelope) => membership.admit(topicId, peerId, envelope),
      deliver: message => needs.deliver(message),
      onJudged: outcome => metrics?.onReceived(outcome)
    },
    limits
  )

  /** The stream to a peer in a topic; new ones make room by closing the one idle for longest. */
  function streamTo(to: PeerId, topicId: TopicId, topicKey: Uint8Array): OutgoingStream {
    const key = `${to} ${topicId}`
    let stream = outgoing.get(key)
    if (stream === undefined) {
      const toSame = [...outgoing.values()].filter(other => other.to === to)
      if (toSame.length >= limits.maxStreamsPerPeer) {
        const idle = toSame.find(other => other.isIdle)
        if (idle !== undefined) void drop(idle)
      }
      stream = new OutgoingStream({ to, topicId, topicKey }, outgoingNeeds, limits)
    }
    outgoing.delete(key) // the map's order is that of the last use
    outgoing.set(key, stream)
    return stream
  }

  function drop(stream: OutgoingStream): Promise<void> {
    outgoing.delete(`${stream.to} ${stream.topicId}`)
    return stream.close()
  }

  async function sendNow(
    topicId: TopicId,
    topicKey: Uint8Array,
    to: PeerId,
    value: Value,
    { signal, timeoutMs = limits.timeoutMs }: SendOptions
  ): Promise<Sent> {
    if (scope.signal.aborted) throw new MusterError('closed', 'the peer is closed; the message was not sent')
    if (!(timeoutMs > 0)) throw new MusterError('options-invalid', `timeoutMs is ${timeoutMs}; it must be positive`)
    if (signal?.aborted)
      throw asMusterError(signal.reason, 'aborted', 'the send was cancelled; the message was not sent')
    const encoded = encodeValue(value, limits.maxMessageBytes)
    if (to === node.peerId) throw new MusterError('unreachable', 'a peer sends no messages to itself')
    if (membership.ownEnvelope(topicId) === undefined) {
      throw new MusterError('not-a-member', 'this peer is not in the topic')
    }
    return await streamTo(to, topicId, topicKey).send(encoded, Math.min(timeoutMs, MAX_TIMEOUT_MS), signal)
  }

  scope.defer(() => incoming.close())
  scope.defer(() => Promise.all([...outgoing.values()].map(drop)))
  scope.defer(
    node.handle(
      MESSAGE_PROTOCOL,
      { maxFrameBytes: MAX_MESSAGE_FRAME_BYTES, maxInboundPerConnection: limits.maxStreamsPerConnection },
      channel => incoming.serve(channel)
    )
  )

  return {
    signal: scope.signal,
    close: () => scope.close(),
    [Symbol.asyncDispose]: () => scope.close(),
    async send(topicId, topicKey, to, value, sendOptions = {}) {
      try {
        const { id, rttMs } = await sendNow(topicId, topicKey, to, value, sendOptions)
        metrics?.onSent('receipt', rttMs)
        return { to, id: String(id), rttMs }
      } catch (thrown) {
        const error = asMusterError(thrown, 'closed')
        metrics?.onSent(error.code)
        throw error
      }
    },
    async forget(topicId) {
      const streams = [...outgoing.values()].filter(stream => stream.topicId === topicId)
      await Promise.all([...streams.map(drop), incoming.forget(topicId)])
    }
  }
}
