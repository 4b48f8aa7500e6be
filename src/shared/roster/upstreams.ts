import type { PeerId } from '../core/address.ts'
import { type Clock, sleep } from '../core/clock.ts'
import type { Log } from '../core/log.ts'
import type { Topic, TopicId } from '../core/topic.ts'
import { TokenBuckets } from '../node/buckets.ts'
import { MAX_MEMBERS_PER_ANSWER } from '../wire/topic.ts'
import {
  FOLLOW_FRAMES_BURST,
  FOLLOW_FRAMES_PER_SECOND,
  FOLLOW_PAUSE_MS,
  MAX_PARALLEL_FOLLOWS,
  MAX_TOPICS
} from './limits.ts'
import type { RosterTable } from './table.ts'

export interface UpstreamsNeeds {
  readonly table: RosterTable
  readonly clock: Clock
  readonly log: Log
  readonly signal: AbortSignal
  greet(peerId: PeerId, topic: Pick<Topic, 'id' | 'key'>): Promise<void>
}

interface Upstream {
  readonly peerId: PeerId
  /** Topics that are not shared with it yet, in turn. */
  readonly waiting: Set<TopicId>
  /** Frames it may be sent. */
  readonly frames: TokenBuckets
  isSharing: boolean
}

/**
 * Other bootstraps every topic is shared with, no faster than they read: thousands of topics at once, as after a restart,
 * would break the stream on both sides.
 */
export class Upstreams {
  readonly #needs: UpstreamsNeeds
  readonly #upstreams = new Map<PeerId, Upstream>()

  constructor(needs: UpstreamsNeeds) {
    this.#needs = needs
  }

  has(peerId: PeerId): boolean {
    return this.#upstreams.has(peerId)
  }

  /** Shares all topics, again if they were before: its stream is a new one. Resolves when that is done, or given up. */
  async follow(peerId: PeerId): Promise<void> {
    const frames = new TokenBuckets(FOLLOW_FRAMES_PER_SECOND, FOLLOW_FRAMES_BURST, 1)
    const upstream = { peerId, waiting: new Set(this.#needs.table.topics()), frames, isSharing: false }
    this.#upstreams.set(peerId, upstream)
    await this.#share(upstream)
  }

  drop(peerId: PeerId): void {
    this.#upstreams.delete(peerId)
  }

  /** A topic has its first member, who was told of by `from`. */
  add(topicId: TopicId, from: PeerId | undefined): void {
    for (const upstream of this.#upstreams.values()) {
      if (upstream.peerId === from) continue
      upstream.waiting.add(topicId)
      if (upstream.waiting.size > 2 * MAX_TOPICS) this.#dropGone(upstream)
      void this.#share(upstream)
    }
  }

  /** Greets it for what waits, until nothing does or it is followed no more. Never rejects. */
  async #share(upstream: Upstream): Promise<void> {
    const { clock, signal } = this.#needs
    if (upstream.isSharing) return
    upstream.isSharing = true
    while (upstream.waiting.size > 0 && !signal.aborted && this.#upstreams.get(upstream.peerId) === upstream) {
      const batch = this.#nextOf(upstream)
      await Promise.all(batch.map(topic => this.#greet(upstream.peerId, topic)))
      if (batch.length === 0) await sleep(clock, FOLLOW_PAUSE_MS, signal).catch(() => undefined)
    }
    upstream.isSharing = false
  }

  /** Topics whose frames it has room for now: a HELLO, and for each member it does not name an UPDATE. */
  #nextOf({ waiting, frames }: Upstream): Array<Pick<Topic, 'id' | 'key'>> {
    const { table, clock } = this.#needs
    const batch: Array<Pick<Topic, 'id' | 'key'>> = []
    for (const topicId of waiting) {
      if (batch.length >= MAX_PARALLEL_FOLLOWS) break
      const members = table.members(topicId).filter(({ source }) => source.kind !== 'rumour')
      const [entry] = members
      const cost = 1 + Math.min(members.length, MAX_MEMBERS_PER_ANSWER)
      if (entry !== undefined && !frames.take('', clock.now(), cost)) break
      waiting.delete(topicId)
      if (entry !== undefined) batch.push({ id: topicId, key: entry.record.topicKey })
    }
    return batch
  }

  /** Topics come and go while they wait, of which a stranger may make any number. */
  #dropGone({ waiting }: Upstream): void {
    for (const topicId of waiting) if (this.#needs.table.members(topicId).length === 0) waiting.delete(topicId)
  }

  async #greet(peerId: PeerId, topic: Pick<Topic, 'id' | 'key'>): Promise<void> {
    try {
      await this.#needs.greet(peerId, topic)
    } catch (thrown) {
      this.#needs.log.debug({ err: thrown, peerId }, 'a bootstrap does not share a topic')
    }
  }
}
