import type { Datastore } from 'interface-datastore'
import type { PeerId } from '../core/address.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { build, type Closable } from '../core/lifecycle.ts'
import { type Log, silentLog } from '../core/log.ts'
import type { Topic, TopicId } from '../core/topic.ts'
import type { SignedBroadcast } from '../gossip/broadcast.ts'
import type { Node } from '../node/port.ts'
import { type Answer, askKeeper, type OpenBroadcast, type PastBroadcast } from './ask.ts'
import type { BookLimits } from './book.ts'
import { serveHistory } from './keeper.ts'
import { SWEEP_MS } from './limits.ts'
import { type DropReason, HistoryStore } from './store.ts'

export interface HistoryNeeds {
  readonly node: Pick<Node, 'open' | 'handle'>
  readonly datastore: Datastore
  readonly open: OpenBroadcast
  readonly membership: {
    /** Our signed member record; undefined when we are not in the topic. */
    own(topicId: TopicId): Uint8Array | undefined
    /** @throws MusterError `not-a-member` | `limit-reached` | `protocol-violation`. */
    admit(peerId: PeerId, topicId: TopicId, envelope: Uint8Array): Promise<void>
  }
  onDropped?(reason: DropReason, count: number): void
  /** A question of another (`in`), or of ours, was dealt with. */
  onAsked?(direction: 'in' | 'out', outcome: 'answered' | 'refused' | 'failed'): void
  readonly clock?: Clock
  readonly log?: Log
}

export interface HistoryOptions {
  /** Topics whose broadcasts are kept. */
  readonly keep: readonly TopicId[]
  /** For tests. */
  readonly limits?: Partial<BookLimits>
}

/** What was said in a topic: kept, if this node keeps it, and told to members who ask. See docs/protocols/history.md. */
export interface History extends Closable {
  /** Messages and bytes kept, all topics together. */
  readonly counts: { readonly messages: number; readonly bytes: number }
  keeps(topicId: TopicId): boolean
  /** Keeps a verified broadcast, if its topic is kept here. It is on disk a moment later; nobody waits for it. */
  take(broadcast: SignedBroadcast): void
  /** What this node keeps itself: the newest, oldest first. */
  kept(topicId: TopicId, limit: number): Promise<readonly PastBroadcast[]>
  /** Asks a connected peer, and keeps what it tells of a topic that is kept here. Rejects only when `signal` aborts. */
  ask(peerId: PeerId, topic: Pick<Topic, 'id' | 'key'>, limit: number, signal: AbortSignal): Promise<Answer>
}

/** Finds what an earlier run kept, and serves it. What was kept of a topic that is kept no longer stays until its time is over. */
export async function openHistory(needs: HistoryNeeds, { keep, limits }: HistoryOptions): Promise<History> {
  const { node, datastore, open, membership, clock = systemClock, log = silentLog } = needs
  return await build(async scope => {
    const topics = new Set(keep)
    const keeps = (topicId: TopicId): boolean => topics.has(topicId)
    const store = new HistoryStore(
      { datastore, clock, log, onDropped: (...drop) => needs.onDropped?.(...drop) },
      limits
    )
    await store.recall()
    scope.defer(() => store.written())
    scope.defer(clock.every(SWEEP_MS, () => store.sweep()))
    scope.defer(
      serveHistory({
        node,
        store,
        keeps,
        admit: (...asker) => membership.admit(...asker),
        clock,
        log,
        onAnswered: outcome => needs.onAsked?.('in', outcome)
      })
    )
    const askNeeds = {
      node,
      open,
      clock,
      log,
      ownEnvelope: (topicId: TopicId) => membership.own(topicId),
      onAsked: (outcome: 'answered' | 'refused' | 'failed') => needs.onAsked?.('out', outcome)
    }
    const take = (broadcast: SignedBroadcast): void => {
      if (keeps(broadcast.topicId) && !scope.signal.aborted) store.take(broadcast)
    }
    return {
      get counts() {
        return { messages: store.messages, bytes: store.bytes }
      },
      keeps,
      take,
      async kept(topicId, limit) {
        const found: PastBroadcast[] = []
        if (!keeps(topicId)) return found
        for (const message of store.newest(topicId, limit)) {
          const proof = await store.read(message)
          if (proof === undefined) continue
          const opened = await open(proof, topicId).catch(err => log.error({ err }, 'a kept message is not readable'))
          if (opened !== undefined) found.push(opened)
        }
        return found
      },
      async ask(peerId, topic, limit, signal) {
        const answer = await askKeeper(askNeeds, peerId, topic, limit, signal)
        for (const message of answer.messages) take(message) // verified, so as good as heard: keepers fill each other's gaps
        return answer
      },
      signal: scope.signal,
      close: () => scope.close(),
      [Symbol.asyncDispose]: () => scope.close()
    }
  })
}
