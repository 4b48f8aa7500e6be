import type { PeerId } from '../../shared/core/address.ts'
import { type Clock, systemClock } from '../../shared/core/clock.ts'
import { asMusterError, type ErrorCode, MusterError } from '../../shared/core/errors.ts'
import { type Closable, Scope } from '../../shared/core/lifecycle.ts'
import { type Random, systemRandom } from '../../shared/core/random.ts'
import type { Topic, TopicId } from '../../shared/core/topic.ts'
import type { Node } from '../../shared/node/port.ts'
import { MAX_MESSAGE_FRAME_BYTES, MESSAGE_PROTOCOL } from '../../shared/wire/message.ts'
import type { AskOptions, Progress, SendOptions, Value } from '../api.ts'
import { encodeValue } from '../value.ts'
import { Context, type HandOptions } from './context.ts'
import type { Answer } from './exchange.ts'
import type { RefusalCode } from './frame.ts'
import { type Delivery, Incoming } from './incoming.ts'
import { DEFAULTS, type MessagingLimits } from './limits.ts'
import { Line } from './line.ts'
import type { Sent } from './outgoing.ts'
import type { Compression } from './pack.ts'

export type { Delivery } from './incoming.ts'

/** What messaging reports to whoever counts. Labels are closed sets. */
export interface MessagingMetrics {
  /** A send or a request ended: with a receipt or an answer after `rttMs`, or with an error. */
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
    /** Somebody's record for the topic is known here. What is sent to anybody else waits for it, if it may. */
    isKnown(topicId: TopicId, peerId: PeerId): boolean
  }
  /** Gives a message to the application. What it throws is `no-handler` or `handler-failed` to the sender. */
  deliver(message: Delivery): void | Promise<void>
  /** A large value is on its way to us. */
  onProgress?(from: PeerId, topicId: TopicId, id: string, progress: Progress): void
  readonly compression?: Compression
  readonly metrics?: MessagingMetrics
  readonly clock?: Clock
  readonly random?: Random
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
   * Sends one value and waits for the receipt. Values of up to 64 KiB to one receiver in one topic arrive in call order,
   * up to 256 of them under way at once; more wait for room. Larger ones go in parts in between, and may be overtaken.
   *
   * Not delivered for certain: `value-invalid`, `too-large`, `limit-reached`, `not-a-member` (either side),
   * `unreachable`, `no-handler`. `handler-failed`: the handler threw. Delivered or not, nobody knows: `gone` (the member
   * left or was lost), `closed` (the stream broke or was closed before the receipt), `timed-out` and `aborted`; their
   * message says "was not sent" when that is known.
   * @throws MusterError with one of these codes, or `options-invalid` for a time that is none.
   */
  send(topic: TopicRef, to: PeerId, value: Value, options?: SendOptions): Promise<SendReceipt>
  /** As {@link send}, and waits for the answer. */
  ask(topic: TopicRef, to: PeerId, value: Value, options?: AskOptions): Promise<Answer>
  /** @throws MusterError `value-invalid` | `too-large` for what can be sent to nobody. */
  judge(value: Value): void
  /** A member left or was lost: what is under way to it fails with `gone`, what may wait for it waits. */
  abandon(topicId: TopicId, peerId: PeerId): void
  /** A member is there: whoever waits for it need not wait longer. */
  retry(topicId: TopicId, peerId: PeerId): void
  /** Closes the streams of a topic; what has no receipt yet fails with `closed`. Never rejects. */
  forget(topicId: TopicId): Promise<void>
}

type TopicRef = Pick<Topic, 'id' | 'key'>

/** Serves the message protocol on a node and sends over it. */
export function createMessaging(needs: MessagingNeeds, options: Partial<MessagingLimits> = {}): Messaging {
  const limits: MessagingLimits = { ...DEFAULTS, ...options }
  const { node, membership, metrics, clock = systemClock, random = systemRandom } = needs
  const scope = new Scope()
  const lines = new Map<TopicId, Map<PeerId, Line>>()
  const context = new Context(clock, () => clock.monotonic(), limits, needs.compression)
  const lineNeeds = {
    node,
    context,
    session: Math.floor(random() * Number.MAX_SAFE_INTEGER),
    connect: (peerId: PeerId, signal: AbortSignal) => needs.connect(peerId, signal),
    ownEnvelope: (topicId: TopicId) => membership.ownEnvelope(topicId),
    isKnown: (topicId: TopicId, peerId: PeerId) => membership.isKnown(topicId, peerId),
    onGone(line: Line) {
      if (lines.get(line.topicId)?.get(line.to) === line) remove(line)
    },
    onProgress: (from: PeerId, topicId: TopicId, id: string, progress: Progress) =>
      needs.onProgress?.(from, topicId, id, progress)
  }
  const incoming = new Incoming({
    context,
    isMember: topicId => membership.ownEnvelope(topicId) !== undefined,
    admit: (topicId, peerId, envelope) => membership.admit(topicId, peerId, envelope),
    deliver: message => needs.deliver(message),
    onProgress: (...progress) => needs.onProgress?.(...progress),
    onJudged: outcome => metrics?.onReceived(outcome)
  })

  /** The line to a peer in a topic; new ones make room by closing the one idle for longest. */
  function lineTo(to: PeerId, { id: topicId, key: topicKey }: TopicRef): Line {
    const known = lines.get(topicId)?.get(to)
    if (known !== undefined) return known
    const toSame = [...lines.values()].flatMap(byPeer => byPeer.get(to) ?? [])
    if (toSame.length >= limits.maxStreamsPerPeer) {
      const [idlest] = toSame.filter(other => other.isIdle).sort((a, b) => a.usedAt - b.usedAt)
      if (idlest !== undefined) void drop(idlest)
    }
    const line = new Line({ to, topicId, topicKey }, lineNeeds)
    const inTopic = lines.get(topicId) ?? new Map<PeerId, Line>()
    lines.set(topicId, inTopic.set(to, line))
    return line
  }

  function remove({ topicId, to }: Line): void {
    const inTopic = lines.get(topicId)
    inTopic?.delete(to)
    if (inTopic?.size === 0) lines.delete(topicId)
  }

  function drop(line: Line): Promise<void> {
    remove(line)
    return line.close()
  }

  function hand(topic: TopicRef, to: PeerId, value: Value, handOptions: HandOptions): Promise<Sent> {
    if (scope.signal.aborted) throw new MusterError('closed', 'the peer is closed; the message was not sent')
    if (to === node.peerId) throw new MusterError('unreachable', 'a peer sends no messages to itself')
    if (membership.ownEnvelope(topic.id) === undefined) {
      throw new MusterError('not-a-member', 'this peer is not in the topic')
    }
    return lineTo(to, topic).send(value, handOptions)
  }

  function counted(topic: TopicRef, to: PeerId, value: Value, handOptions: HandOptions): Promise<Sent> {
    let sending: Promise<Sent>
    try {
      sending = hand(topic, to, value, handOptions)
    } catch (thrown) {
      sending = Promise.reject(asMusterError(thrown, 'closed'))
    }
    if (metrics === undefined) return sending
    sending.then(
      ({ rttMs }) => metrics.onSent('receipt', rttMs),
      (error: MusterError) => metrics.onSent(error.code)
    )
    return sending
  }

  scope.defer(() => incoming.close())
  scope.defer(() => Promise.all([...lines.values()].flatMap(byPeer => [...byPeer.values()]).map(drop)))
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
    async send(topic, to, value, sendOptions) {
      const { id, rttMs } = await counted(topic, to, value, { ...sendOptions, wantsReply: false })
      return { to, id: String(id), rttMs }
    },
    async ask(topic, to, value, askOptions) {
      const { answer } = await counted(topic, to, value, { ...askOptions, wantsReply: true })
      if (answer === undefined) throw new MusterError('closed')
      return answer
    },
    judge(value) {
      encodeValue(value, limits.maxMessageBytes)
    },
    abandon(topicId, peerId) {
      const error = new MusterError('gone', 'the member left or was lost')
      void lines.get(topicId)?.get(peerId)?.abandon(error)
      incoming.abandon(topicId, peerId, error)
    },
    retry(topicId, peerId) {
      lines.get(topicId)?.get(peerId)?.retry()
    },
    async forget(topicId) {
      const own = [...(lines.get(topicId)?.values() ?? [])]
      await Promise.all([...own.map(drop), incoming.forget(topicId)])
    }
  }
}
