import type { PeerId } from '../../shared/core/address.ts'
import { type Clock, sleep, systemClock } from '../../shared/core/clock.ts'
import { asMusterError, isMusterError, MusterError } from '../../shared/core/errors.ts'
import { type Closable, Scope, type Undo } from '../../shared/core/lifecycle.ts'
import { type Log, silentLog } from '../../shared/core/log.ts'
import { anySignal } from '../../shared/core/signals.ts'
import type { Topic, TopicId } from '../../shared/core/topic.ts'
import { broadcastId } from '../../shared/gossip/broadcast.ts'
import type { Feed, FeedListener } from '../../shared/gossip/feed.ts'
import type { Node } from '../../shared/node/port.ts'
import { MAX_BROADCAST_BYTES } from '../../shared/wire/broadcast.ts'
import type { BroadcastOptions, BroadcastResult, Message, Value } from '../api.ts'
import { decodeValue, encodeValue } from '../value.ts'
import { Acks, type AckWait } from './acks.ts'

export interface BroadcastsNeeds {
  readonly node: Pick<Node, 'peerId' | 'open' | 'handle' | 'connect' | 'gossip'>
  readonly feed: Pick<Feed, 'subscribe' | 'publish'>
  /** Our signed member record; undefined when we are not in the topic. */
  ownEnvelope(topicId: TopicId): Uint8Array | undefined
  readonly clock?: Clock
  readonly log?: Log
}

/** A broadcast for the application. */
type Heard = Pick<Message, 'from' | 'name' | 'id' | 'value'> & { readonly via: 'broadcast'; readonly sentAt: string }

/** A group, as its broadcasts see it. */
export interface Audience {
  /** Everybody known right now, this peer excluded. */
  members(): ReadonlyArray<{ readonly peerId: PeerId }>
  /** True the first time: a keeper may have told of it already. */
  isNew(author: PeerId, sequence: number): boolean
  /** Gives a broadcast to the application; throws or rejects when it is not taken. */
  deliver(message: Heard): void | Promise<void>
}

/** Broadcasts of one peer, in all its topics. See docs/protocols/broadcast.md. */
export interface BroadcastRoom extends Closable {
  /** Hears the broadcasts of a topic, and passes them on, until undone. */
  enter(topic: Topic, audience: Audience): Undo
  /** As `Group.broadcast`. */
  say(
    topic: Topic,
    audience: Pick<Audience, 'members'>,
    value: Value,
    options?: BroadcastOptions
  ): Promise<BroadcastResult>
}

/**
 * Milliseconds from entering a topic in which a broadcast waits for the first neighbour, where members are known: gossip
 * comes a moment after them, and later on a busy machine. After that, members without gossip keep nobody waiting.
 */
const FIRST_NEIGHBOUR_MS = 15_000
const LOOK_AGAIN_MS = 50

/** Longest wait a timer takes; a larger one would fire at once. */
const LONGEST_WAIT_MS = 2 ** 31 - 1

export function createBroadcasts(needs: BroadcastsNeeds): BroadcastRoom {
  const { node, feed, clock = systemClock, log = silentLog } = needs
  const scope = new Scope()
  const acks = new Acks({ node, clock, log })
  scope.own(acks)

  const listenerOf =
    (topic: Topic, audience: Audience): FeedListener =>
    async ({ author, sequence, sentMs, wantsAck, sender, ...encoded }) => {
      if (author === node.peerId || !audience.isNew(author, sequence)) return
      try {
        const decoded = decodeValue(encoded)
        if (decoded === undefined) return // a kind of a later version
        const { name } = sender
        const sentAt = new Date(sentMs).toISOString()
        await audience.deliver({ from: author, name, id: broadcastId(sequence), via: 'broadcast', sentAt, ...decoded })
      } catch (thrown) {
        if (!isMusterError(thrown)) throw thrown
        log.debug({ err: thrown, from: author }, 'a broadcast was not taken')
        return
      }
      if (wantsAck) void acks.give(author, sender.addresses, topic.key, sequence)
    }

  const entered = new Map<TopicId, number>()

  const firstNeighbour = async (
    topicId: TopicId,
    { members }: Pick<Audience, 'members'>,
    signal: AbortSignal | undefined
  ): Promise<void> => {
    using over = anySignal(scope.signal, ...(signal === undefined ? [] : [signal]))
    const end = (entered.get(topicId) ?? 0) + FIRST_NEIGHBOUR_MS
    try {
      while (node.gossip.neighbours(topicId).length === 0 && members().length > 0 && clock.now() < end) {
        await sleep(clock, LOOK_AGAIN_MS, over.signal)
      }
    } catch (thrown) {
      throw asMusterError(thrown, 'aborted', 'the broadcast was cancelled; nothing was said')
    }
  }

  const envelopeOf = (topicId: TopicId): Uint8Array => {
    const envelope = needs.ownEnvelope(topicId)
    if (envelope === undefined) throw new MusterError('closed', 'the group was left; nothing was said')
    return envelope
  }

  return {
    signal: scope.signal,
    close: () => scope.close(),
    [Symbol.asyncDispose]: () => scope.close(),
    enter(topic, audience) {
      entered.set(topic.id, clock.now())
      const leave = feed.subscribe(topic.id, listenerOf(topic, audience))
      return () => {
        entered.delete(topic.id)
        leave()
      }
    },
    async say(topic, audience, value, { ackMs = 0, signal } = {}) {
      if (!(ackMs >= 0)) throw new MusterError('options-invalid', `ackMs is ${ackMs}; it must be a number from 0 on`)
      const encoded = encodeValue(value, MAX_BROADCAST_BYTES)
      envelopeOf(topic.id)
      let wait: AckWait | undefined
      try {
        await firstNeighbour(topic.id, { members: () => audience.members() }, signal)
        const envelope = envelopeOf(topic.id) // it may have changed, or be gone with the group
        const { sequence, peers } = await feed.publish(
          { topicId: topic.id, ...encoded, envelope, wantsAck: ackMs > 0 },
          {
            ...(signal === undefined ? {} : { signal }),
            before: number => {
              const awaited = audience.members().map(({ peerId }) => peerId)
              if (ackMs > 0) wait = acks.expect(topic.id, number, awaited)
            }
          }
        )
        const acknowledged = (await wait?.collected(Math.min(ackMs, LONGEST_WAIT_MS), signal)) ?? []
        return { id: broadcastId(sequence), sequence, peers: peers.length, acknowledged }
      } finally {
        wait?.end()
      }
    }
  }
}
