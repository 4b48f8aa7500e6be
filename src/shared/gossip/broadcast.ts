import type { PeerId } from '../core/address.ts'
import type { TopicId } from '../core/topic.ts'

/** A broadcast whose author's signature was verified. */
export interface SignedBroadcast {
  readonly topicId: TopicId
  readonly author: PeerId
  /** The author's own count of its broadcasts, over restarts and topics; never twice the same. */
  readonly sequence: number
  /** The author's clock, in milliseconds since 1970. */
  readonly sentMs: number
  /** How `body` is read: `VALUE_KIND` of the message protocol. */
  readonly kind: number
  readonly body: Uint8Array
  /** The author's signed member record at that time. */
  readonly envelope: Uint8Array
  /** All of the above as the author signed it, for whoever wants to verify it again: a libp2p pubsub message with its signature. */
  readonly proof: Uint8Array
}

/** What the author's member record says, for those who show a broadcast or answer it. */
export interface Author {
  readonly name: string | undefined
  readonly addresses: readonly string[]
}

/** The id of a broadcast among the messages of its author: no direct message has it. */
export function broadcastId(sequence: number): string {
  return `b${sequence}`
}
