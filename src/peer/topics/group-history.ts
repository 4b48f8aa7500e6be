import type { PeerId } from '../../shared/core/address.ts'
import { isMusterError } from '../../shared/core/errors.ts'
import type { Undo } from '../../shared/core/lifecycle.ts'
import type { Topic } from '../../shared/core/topic.ts'
import { broadcastId } from '../../shared/gossip/broadcast.ts'
import type { PastBroadcast } from '../../shared/history/ask.ts'
import type { HistoryOptions, Message } from '../api.ts'
import { decodeValue } from '../value.ts'
import type { Delivery } from './direct.ts'
import type { GroupNeeds } from './group-needs.ts'
import { followPast, type PastNeeds, readPast } from './past.ts'
import { ReceivedMessage } from './received.ts'
import { Seen } from './seen.ts'

export type GroupHistoryNeeds = Pick<GroupNeeds, 'node' | 'roster' | 'bootstraps' | 'history' | 'clock'>

/** A group, as its history sees it. */
interface Audience {
  readonly signal: AbortSignal
  members(): ReadonlyArray<{ readonly peerId: PeerId }>
  deliver(message: Delivery): void | Promise<void>
}

/** What was said in one topic before this peer came. */
export class GroupHistory {
  readonly #topic: Topic
  readonly #needs: GroupHistoryNeeds
  readonly #audience: Audience
  readonly #seen = new Seen()

  constructor(topic: Topic, needs: GroupHistoryNeeds, audience: Audience) {
    this.#topic = topic
    this.#needs = needs
    this.#audience = audience
  }

  /** True the first time, whichever way a broadcast came. */
  isNew(author: PeerId, sequence: number): boolean {
    return this.#seen.add(author, sequence)
  }

  /** Delivers the newest `limit` messages of before, once each; what this peer said itself it has not missed. */
  follow(limit: number): Undo {
    return followPast(this.#past(), limit, broadcast => {
      if (broadcast.author === this.#needs.node.peerId || !this.isNew(broadcast.author, broadcast.sequence)) return
      const message = messageOf(broadcast)
      if (message !== undefined) void this.#deliver(message)
    })
  }

  async #deliver(message: Delivery): Promise<void> {
    try {
      await this.#audience.deliver(message)
    } catch (thrown) {
      if (!isMusterError(thrown)) throw thrown // nobody listens, or a listener threw: that is its own error
    }
  }

  /** As `Group.history`. */
  async read(options?: HistoryOptions): Promise<readonly Message[]> {
    const past = await readPast(this.#past(), options)
    return past.flatMap(broadcast => {
      const message = messageOf(broadcast)
      return message === undefined ? [] : [new ReceivedMessage(message, message.name, this.#topic.name)]
    })
  }

  #past(): PastNeeds {
    const { node, roster, bootstraps, history, clock } = this.#needs
    const topic = this.#topic
    return {
      ask: (peerId, limit, signal) => history.ask(peerId, topic, limit, signal),
      kept: limit => history.kept(topic.id, limit),
      connected: () => {
        const known = [...bootstraps.up, ...this.#audience.members().map(({ peerId }) => peerId)]
        return known.filter(peerId => node.isConnected(peerId))
      },
      onMet(listener) {
        const undo = [
          bootstraps.on('up', ({ peerId }) => listener(peerId)),
          roster.on('live', ({ topicId, peerId }) => {
            if (topicId === topic.id) listener(peerId)
          })
        ]
        return () => {
          for (const each of undo) each()
        }
      },
      clock,
      signal: this.#audience.signal
    }
  }
}

/** Undefined for what is no value to this version. */
function messageOf({ author, sequence, sentMs, sender, ...encoded }: PastBroadcast): Delivery | undefined {
  try {
    const decoded = decodeValue(encoded)
    if (decoded === undefined) return undefined
    const sentAt = new Date(sentMs).toISOString()
    return { from: author, name: sender.name, id: broadcastId(sequence), via: 'history', sentAt, ...decoded }
  } catch (thrown) {
    if (isMusterError(thrown, 'protocol-violation')) return undefined
    throw thrown
  }
}
