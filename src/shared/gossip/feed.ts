import type { Datastore } from 'interface-datastore'
import type { PeerId } from '../core/address.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { asError, asMusterError, isMusterError, MusterError } from '../core/errors.ts'
import { type Closable, Scope, type Undo } from '../core/lifecycle.ts'
import { type Log, silentLog } from '../core/log.ts'
import type { TopicId } from '../core/topic.ts'
import { TokenBuckets } from '../node/buckets.ts'
import type { GossipMessage, GossipVerdict, Node, WaitOptions } from '../node/port.ts'
import { broadcastCodec } from '../wire/broadcast.ts'
import { Authors } from './authors.ts'
import * as limits from './limits.ts'
import { decodeBroadcast, type OpenedBroadcast, type OpenRecord, readBroadcast } from './open.ts'
import { KnownRecords } from './records.ts'
import { Sequence } from './sequence.ts'
import { broadcastCost, type Step } from './step.ts'

/** What became of a broadcast of others; `invalid` costs whoever passed it on. */
export type Judged = 'taken' | 'invalid' | Exclude<Step, 'fresh'>

export interface FeedNeeds {
  readonly node: Pick<Node, 'peerId' | 'gossip'>
  readonly openRecord: OpenRecord
  /** Where it is kept which broadcasts came, and which number ours is. */
  readonly datastore: Datastore
  readonly onJudged?: (outcome: Judged) => void
  /** A broadcast of our own was sent, or not. */
  readonly onSaid?: (outcome: 'sent' | 'rate' | 'failed') => void
  readonly clock?: Clock
  readonly log?: Log
}

export type FeedListener = (broadcast: OpenedBroadcast) => void

export interface Say {
  readonly topicId: TopicId
  readonly kind: number
  readonly body: Uint8Array
  /** Our own signed member record in the topic. */
  readonly envelope: Uint8Array
  readonly wantsAck: boolean
}

/** The broadcasts of topics: one judge for all nodes, whoever listens. See docs/protocols/broadcast.md. */
export interface Feed extends Closable {
  /** Authors whose sequence numbers are remembered. */
  readonly authors: number
  /** Passes on a topic's broadcasts and hears each once; those of this node too, when they are published. */
  subscribe(topicId: TopicId, listener: FeedListener): Undo
  /**
   * Says something to everybody in a topic. `before` is told the sequence number before anybody else can know it.
   * @throws MusterError `limit-reached` when others would not pass it on; `aborted`; `closed`.
   */
  publish(
    said: Say,
    options?: WaitOptions & { readonly before?: (sequence: number) => void }
  ): Promise<{ readonly sequence: number; readonly peers: readonly PeerId[] }>
}

export async function createFeed(needs: FeedNeeds): Promise<Feed> {
  const { clock = systemClock, log = silentLog } = needs
  const authors = new Authors(needs.datastore, clock, log)
  await authors.load()
  return new LiveFeed(needs, authors, clock, log)
}

class LiveFeed implements Feed {
  readonly signal: AbortSignal
  readonly #needs: FeedNeeds
  readonly #authors: Authors
  readonly #clock: Clock
  readonly #log: Log
  readonly #scope = new Scope()
  readonly #sequence: Sequence
  readonly #topics = new Map<TopicId, { readonly listeners: Set<FeedListener>; readonly stop: Undo }>()
  readonly #records: KnownRecords
  readonly #ownRate = new TokenBuckets(
    limits.BROADCASTS_PER_SECOND,
    limits.BROADCASTS_BURST,
    limits.MAX_BROADCAST_AUTHORS
  )
  readonly #allRate = new TokenBuckets(limits.ALL_BROADCASTS_PER_SECOND, limits.ALL_BROADCASTS_BURST, 1)

  constructor(needs: FeedNeeds, authors: Authors, clock: Clock, log: Log) {
    this.#needs = needs
    this.#authors = authors
    this.#clock = clock
    this.#log = log
    this.#sequence = new Sequence(needs.datastore, clock)
    this.#records = new KnownRecords(needs.openRecord)
    this.signal = this.#scope.signal
    this.#scope.defer(() => authors.save())
    this.#scope.defer(() => {
      for (const { stop } of this.#topics.values()) stop()
      this.#topics.clear()
    })
  }

  get authors(): number {
    return this.#authors.size
  }

  subscribe(topicId: TopicId, listener: FeedListener): Undo {
    if (this.signal.aborted) throw new MusterError('closed')
    let topic = this.#topics.get(topicId)
    if (topic === undefined) {
      const stop = this.#needs.node.gossip.subscribe(topicId, async message => await this.#judge(message))
      topic = { listeners: new Set(), stop }
      this.#topics.set(topicId, topic)
    }
    const { listeners, stop } = topic
    const own: FeedListener = broadcast => listener(broadcast) // the same function may listen twice
    listeners.add(own)
    return () => {
      if (!listeners.delete(own) || listeners.size > 0) return
      this.#topics.delete(topicId)
      stop()
    }
  }

  async publish(said: Say, options: Parameters<Feed['publish']>[1] = {}): ReturnType<Feed['publish']> {
    try {
      const result = await this.#publish(said, options)
      this.#needs.onSaid?.('sent')
      return result
    } catch (thrown) {
      this.#needs.onSaid?.(isMusterError(thrown, 'limit-reached') ? 'rate' : 'failed')
      throw thrown
    }
  }

  close(): Promise<void> {
    return this.#scope.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #publish(
    { topicId, wantsAck, ...said }: Say,
    { signal, before }: NonNullable<Parameters<Feed['publish']>[1]>
  ): Promise<{ sequence: number; peers: readonly PeerId[] }> {
    if (this.signal.aborted) throw new MusterError('closed')
    if (signal?.aborted) throw asMusterError(signal.reason, 'aborted')
    if (!this.#ownRate.take(topicId, this.#clock.now(), broadcastCost(said.body.length))) {
      const { BROADCASTS_PER_SECOND: rate, BROADCASTS_BURST: burst } = limits
      throw new MusterError(
        'limit-reached',
        `others pass on ${rate} broadcasts a second, ${burst} at once, fewer of long ones`
      )
    }
    const sequence = await this.#sequence.next()
    const sentMs = this.#clock.now()
    const data = broadcastCodec.encode({ sequence, sentMs, ...said, ...(wantsAck ? { wantsAck } : {}) })
    before?.(sequence)
    const { peers, proof } = await this.#needs.node.gossip.publish(
      topicId,
      data,
      signal === undefined ? {} : { signal }
    )
    const author = this.#needs.node.peerId
    const sender = { name: undefined, addresses: [] }
    this.#tell({ topicId, author, sequence, sentMs, ...said, proof, wantsAck, sender })
    return { sequence, peers }
  }

  async #judge(message: GossipMessage): Promise<GossipVerdict> {
    const [outcome, broadcast] = await this.#judged(message)
    this.#needs.onJudged?.(outcome)
    if (broadcast !== undefined) this.#tell(broadcast)
    return outcome === 'taken' ? 'accept' : outcome === 'invalid' ? 'reject' : 'ignore'
  }

  async #judged(message: GossipMessage): Promise<[Judged, OpenedBroadcast?]> {
    const { topicId, author, data } = message
    try {
      if (author === this.#needs.node.peerId) return ['replay'] // our own, from before a restart
      const { sequence, sentMs, body } = decodeBroadcast(data)
      // before its record is verified: the number and the rate are the author's own, whatever else it got wrong
      const step = this.#authors.judge(topicId, author, { sequence, sentMs, bytes: body.length })
      if (step !== 'fresh') return [step]
      const broadcast = await readBroadcast(message, this.#records.openOf(author))
      if (!this.#allRate.take('', this.#clock.now(), broadcastCost(body.length))) return ['rate']
      return ['taken', broadcast]
    } catch (thrown) {
      this.#log.debug({ err: asError(thrown), from: message.from }, 'a broadcast that is none')
      return ['invalid']
    }
  }

  #tell(broadcast: OpenedBroadcast): void {
    for (const listener of this.#topics.get(broadcast.topicId)?.listeners ?? []) {
      try {
        listener(broadcast)
      } catch (thrown) {
        this.#log.error({ err: asError(thrown) }, 'a listener for broadcasts threw')
      }
    }
  }
}
