import { codec, type Shape } from './codec.ts'
import { MAX_ENVELOPE_BYTES } from './topic.ts'

/** Short name of the message protocol; on the wire `/muster/<network>/message/1.0.0`. */
export const MESSAGE_PROTOCOL = 'message/1.0.0'

/** Longest value of one message, in bytes after encoding. */
export const MAX_MESSAGE_BYTES = 1_048_576
/** A value, its ids and the protobuf around them. */
export const MAX_MESSAGE_FRAME_BYTES = MAX_MESSAGE_BYTES + 8192

/** How the bytes of a value are read. Numbers on the wire; new kinds may follow. */
export const VALUE_KIND = { json: 0, bytes: 1 } as const
export type ValueKind = keyof typeof VALUE_KIND

// Field numbers 5–15 of a frame are kept for requests, responses, cancels and chunks (the next version of the protocol).

const openSchema = {
  topic: { id: 1, type: 'bytes', max: 36, required: true },
  /** The sender's signed member record, so that a receiver that has not heard of it yet can check it. */
  envelope: { id: 2, type: 'bytes', max: MAX_ENVELOPE_BYTES, required: true }
} as const

const messageSchema = {
  /** Counts up from 1 on each stream. */
  id: { id: 1, type: 'uint64', required: true },
  kind: { id: 2, type: 'uint32', required: true },
  body: { id: 3, type: 'bytes', max: MAX_MESSAGE_BYTES, required: true }
} as const

const receiptSchema = {
  id: { id: 1, type: 'uint64', required: true }
} as const

const refusalSchema = {
  /** The message refused; absent when the whole stream is refused. */
  id: { id: 1, type: 'uint64' },
  /** `refused`: no handler, or it threw. `not-a-member`: not in the topic. `too-large`. `limit-reached`. */
  code: { id: 2, type: 'string', max: 32, required: true }
} as const

const messageFrameSchema = {
  open: { id: 1, message: codec(openSchema) },
  message: { id: 2, message: codec(messageSchema) },
  receipt: { id: 3, message: codec(receiptSchema) },
  refusal: { id: 4, message: codec(refusalSchema) }
} as const

/** One frame of the message protocol: exactly one field is set. */
export const messageFrameCodec = codec(messageFrameSchema)
export type MessageFrame = Shape<typeof messageFrameSchema>
