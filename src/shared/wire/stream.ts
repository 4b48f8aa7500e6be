import { codec, type Shape } from './codec.ts'
import { MAX_ENVELOPE_BYTES } from './topic.ts'

/** Short name of the stream protocol; on the wire `/muster/<network>/stream/1.0.0`. */
export const STREAM_PROTOCOL = 'stream/1.0.0'

/** Most bytes of one DATA frame. */
export const MAX_STREAM_DATA_BYTES = 65_536
/** Those bytes, and the protobuf around them. */
export const MAX_STREAM_FRAME_BYTES = MAX_STREAM_DATA_BYTES + 64
/** Longest name of a stream, in bytes of UTF-8. */
export const MAX_STREAM_NAME_BYTES = 64

const openSchema = {
  topic: { id: 1, type: 'bytes', max: 36, required: true },
  /** The opener's signed member record, so that a receiver that has not heard of it yet can check it. */
  envelope: { id: 2, type: 'bytes', max: MAX_ENVELOPE_BYTES, required: true },
  /** Which handler of the other side the stream is for. */
  name: { id: 3, type: 'string', max: MAX_STREAM_NAME_BYTES, required: true }
} as const

const refusalSchema = {
  /** `no-handler`: nobody takes streams of that name. `not-a-member`: not in the topic. `limit-reached`. */
  code: { id: 1, type: 'string', max: 32, required: true }
} as const

const streamFrameSchema = {
  open: { id: 1, message: codec(openSchema) },
  accept: { id: 2, message: codec({}) },
  refusal: { id: 3, message: codec(refusalSchema) },
  /** Not in a message of its own, so that it is copied once on its way out and not at all on its way in. */
  data: { id: 4, type: 'bytes', max: MAX_STREAM_DATA_BYTES },
  /** The sender writes no more. */
  end: { id: 5, message: codec({}) },
  /** The sender reads no more: it has everything up to END, or wants nothing more. */
  done: { id: 6, message: codec({}) }
} as const

/** One frame of the stream protocol: exactly one field is set. */
export const streamFrameCodec = codec(streamFrameSchema)
export type StreamFrame = Shape<typeof streamFrameSchema>
