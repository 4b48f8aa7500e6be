import { codec, type Shape } from './codec.ts'
import { MAX_ENVELOPE_BYTES } from './topic.ts'

/** Short name of the protocol that acknowledges broadcasts; on the wire `/muster/<network>/broadcast/1.0.0`. */
export const BROADCAST_PROTOCOL = 'broadcast/1.0.0'

/** Longest value of one broadcast, in bytes after encoding. */
export const MAX_BROADCAST_BYTES = 65_536
/** A value, its author's member record and the protobuf around them: the `data` of a gossip message. */
export const MAX_BROADCAST_DATA_BYTES = MAX_BROADCAST_BYTES + MAX_ENVELOPE_BYTES + 64
/** Such data with its author, topic, key and signature: a gossip message. */
export const MAX_PROOF_BYTES = MAX_BROADCAST_DATA_BYTES + 512
/** An acknowledgement. */
export const MAX_ACK_FRAME_BYTES = 64

/** Longest name of a gossip topic: the network takes 32 bytes at most, the topic key 59. */
const MAX_GOSSIP_TOPIC_BYTES = 128

/** The name of a topic in the gossip mesh. */
export function gossipTopic(network: string, topicId: string): string {
  return `${gossipTopicPrefix(network)}${topicId}`
}

export function gossipTopicPrefix(network: string): string {
  return `/muster/${network}/topic/`
}

const broadcastSchema = {
  /** The author's own count, over restarts and topics; never twice the same. */
  sequence: { id: 1, type: 'uint64', required: true },
  /** The author's clock, in milliseconds since 1970. */
  sentMs: { id: 2, type: 'uint64', required: true },
  /** How `body` is read: `VALUE_KIND` of the message protocol. */
  kind: { id: 3, type: 'uint32', required: true },
  body: { id: 4, type: 'bytes', max: MAX_BROADCAST_BYTES, required: true },
  /** The author's signed member record, so that anybody can tell that it is a member, and how to reach it. */
  envelope: { id: 5, type: 'bytes', max: MAX_ENVELOPE_BYTES, required: true },
  wantsAck: { id: 6, type: 'bool' }
} as const

/** The `data` of a gossip message. */
export const broadcastCodec = codec(broadcastSchema)
export type BroadcastData = Shape<typeof broadcastSchema>

const ackSchema = {
  topic: { id: 1, type: 'bytes', max: 36, required: true },
  sequence: { id: 2, type: 'uint64', required: true }
} as const

/** The only frame of the broadcast protocol: the application of the sender took a broadcast of the receiver. */
export const ackCodec = codec(ackSchema)

const pubsubSchema = {
  /** The author's peer id as a multihash. */
  from: { id: 1, type: 'bytes', max: 38, required: true },
  data: { id: 2, type: 'bytes', max: MAX_BROADCAST_DATA_BYTES, required: true },
  /** Chosen by gossipsub for its own de-duplication; 8 bytes. */
  seqno: { id: 3, type: 'bytes', max: 8, required: true },
  topic: { id: 4, type: 'string', max: MAX_GOSSIP_TOPIC_BYTES, required: true },
  /** Over `libp2p-pubsub:` and fields 1 to 4. */
  signature: { id: 5, type: 'bytes', max: 64 },
  /** The author's key as a libp2p `PublicKey`. */
  key: { id: 6, type: 'bytes', max: 36 }
} as const

/** A libp2p pubsub message, as gossipsub sends it: the proof of a broadcast. */
export const pubsubCodec = codec(pubsubSchema)
export type PubsubMessage = Shape<typeof pubsubSchema>
