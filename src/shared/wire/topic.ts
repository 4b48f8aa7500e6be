import { codec, type Shape } from './codec.ts'

/** Short name of the topic protocol; on the wire `/muster/<network>/topic/1.0.0`. */
export const TOPIC_PROTOCOL = 'topic/1.0.0'

// What a stranger can make us hold or parse. docs/limits.md lists them; a test keeps the two equal.
export const MAX_RECORD_ADDRESSES = 16
export const MAX_ADDRESS_BYTES = 128
export const MAX_NAME_BYTES = 64
/** A signed member record in its envelope: 16 addresses of 128 bytes, key, signature and the rest. */
export const MAX_ENVELOPE_BYTES = 4096
/** Members named in one answer; the rest is learnt by asking others or from pushes. */
export const MAX_MEMBERS_PER_ANSWER = 64
export const MAX_TOPIC_FRAME_BYTES = MAX_MEMBERS_PER_ANSWER * (MAX_ENVELOPE_BYTES + 16) + 1024

const TOPIC_KEY_BYTES = 36

const memberRecordSchema = {
  topic: { id: 1, type: 'bytes', max: TOPIC_KEY_BYTES, required: true },
  peerId: { id: 2, type: 'string', max: 128, required: true },
  sequence: { id: 3, type: 'uint64', required: true },
  issuedMs: { id: 4, type: 'uint64', required: true },
  expiresMs: { id: 5, type: 'uint64', required: true },
  addresses: { id: 6, type: 'string', max: MAX_ADDRESS_BYTES, repeated: MAX_RECORD_ADDRESSES },
  name: { id: 7, type: 'string', max: MAX_NAME_BYTES },
  left: { id: 8, type: 'bool' }
} as const

/** What a member signs about itself: see docs/protocols/topic.md. */
export const memberRecordCodec = codec(memberRecordSchema)
export type MemberRecordMessage = Shape<typeof memberRecordSchema>

const entrySchema = {
  envelope: { id: 1, type: 'bytes', max: MAX_ENVELOPE_BYTES, required: true },
  /** Reached by the sender, or vouched for by somebody whose word it takes: “Whose word counts” on the page. */
  isLive: { id: 2, type: 'bool' }
} as const

const helloSchema = {
  topic: { id: 1, type: 'bytes', max: TOPIC_KEY_BYTES, required: true },
  /** The sender's own signed member record; absent when it only wants to watch. */
  envelope: { id: 2, type: 'bytes', max: MAX_ENVELOPE_BYTES }
} as const

const membersSchema = {
  topic: { id: 1, type: 'bytes', max: TOPIC_KEY_BYTES, required: true },
  entries: { id: 2, message: codec(entrySchema), repeated: MAX_MEMBERS_PER_ANSWER },
  /** Members known to the sender, of which `entries` may be a sample. */
  total: { id: 3, type: 'uint32' }
} as const

const updateSchema = {
  topic: { id: 1, type: 'bytes', max: TOPIC_KEY_BYTES, required: true },
  envelope: { id: 2, type: 'bytes', max: MAX_ENVELOPE_BYTES, required: true }
} as const

const lostSchema = {
  topic: { id: 1, type: 'bytes', max: TOPIC_KEY_BYTES, required: true },
  peerId: { id: 2, type: 'string', max: 128, required: true }
} as const

const refusalSchema = {
  topic: { id: 1, type: 'bytes', max: TOPIC_KEY_BYTES, required: true },
  /** `not-a-member`: the sender is not in the topic. `limit-reached`: it cannot hold more. */
  code: { id: 2, type: 'string', max: 32, required: true }
} as const

const byeSchema = {
  topic: { id: 1, type: 'bytes', max: TOPIC_KEY_BYTES, required: true }
} as const

const topicFrameSchema = {
  hello: { id: 1, message: codec(helloSchema) },
  members: { id: 2, message: codec(membersSchema) },
  update: { id: 3, message: codec(updateSchema) },
  lost: { id: 4, message: codec(lostSchema) },
  refusal: { id: 5, message: codec(refusalSchema) },
  /** The sender no longer wants pushes for the topic. */
  unwatch: { id: 6, message: codec(byeSchema) }
} as const

/** One frame of the topic protocol: exactly one field is set. */
export const topicFrameCodec = codec(topicFrameSchema)
export type TopicFrame = Shape<typeof topicFrameSchema>
