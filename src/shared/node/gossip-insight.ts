import type { PeerId } from '../core/address.ts'
import type { TopicId } from '../core/topic.ts'

/** What a running gossip knows of others, for those who look inside. */
export interface GossipInsight {
  /** What a neighbour has earned: it is pruned below 0, and not listened to any more below the graylist threshold. */
  scoreOf(peerId: PeerId): number
  /** Connected peers that are in a topic, in its mesh or not. */
  subscribers(topicId: TopicId): number
  /** How much is remembered of others. */
  tables(): Readonly<Record<'peers' | 'topics' | 'scores' | 'messages' | 'seen', number>>
}
