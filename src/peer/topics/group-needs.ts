import type { PeerId } from '../../shared/core/address.ts'
import type { Clock } from '../../shared/core/clock.ts'
import type { Undo } from '../../shared/core/lifecycle.ts'
import type { Log } from '../../shared/core/log.ts'
import type { Topic, TopicId } from '../../shared/core/topic.ts'
import type { Answer, PastBroadcast } from '../../shared/history/ask.ts'
import type { Node } from '../../shared/node/port.ts'
import type { Roster } from '../../shared/roster/roster.ts'
import type { BroadcastOptions, BroadcastResult, ByteStream, LeaveReason, OpenStreamOptions, Value } from '../api.ts'
import type { Delivery, Messenger } from './direct.ts'

/** A group, as its broadcasts see it. */
interface Audience {
  members(): ReadonlyArray<{ readonly peerId: PeerId }>
  isNew(author: PeerId, sequence: number): boolean
  deliver(message: Delivery): void | Promise<void>
}

export interface GroupNeeds {
  readonly node: Pick<Node, 'connect' | 'isConnected' | 'connections' | 'dht' | 'peerId'>
  readonly roster: Roster
  readonly bootstraps: {
    readonly up: readonly PeerId[]
    on(event: 'up', listener: (detail: { readonly peerId: PeerId }) => void): () => void
  }
  readonly messaging: Messenger
  readonly streams: {
    open(topic: Topic, to: PeerId, name: string, options?: OpenStreamOptions): Promise<ByteStream>
    handle(topic: Topic, name: string, handler: (stream: ByteStream) => void | Promise<void>): Undo
    drop(topicId: string, peerId: PeerId, reason: LeaveReason): void
    forget(topicId: string): Promise<void>
  }
  readonly broadcasts: {
    enter(topic: Topic, audience: Audience): () => void
    say(topic: Topic, audience: Audience, value: Value, options?: BroadcastOptions): Promise<BroadcastResult>
  }
  readonly history: {
    ask(peerId: PeerId, topic: Topic, limit: number, signal: AbortSignal): Promise<Answer>
    kept(topicId: TopicId, limit: number): Promise<readonly PastBroadcast[]>
  }
  readonly clock: Clock
  readonly log: Log
}

export interface GroupOptions {
  readonly name: string | undefined
  /** False: bootstraps are not asked and rumours are not followed; the DHT alone names candidates. */
  readonly usesRoster: boolean
  readonly providerValidityMs: number
  /** Members a connection is kept to; 64 by default. */
  readonly maxMesh?: number
  /** Messages from before to be told of; none by default. */
  readonly history?: number
  readonly onClosed: () => void
  /** A bootstrap answers, but does not speak the topic protocol of this network. */
  readonly onMismatch: (peerId: PeerId) => void
}
