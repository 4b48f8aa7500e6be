import { codec, type Shape } from './codec.ts'
import { MAX_ENVELOPE_BYTES } from './topic.ts'

/** Short name of the message protocol; on the wire `/muster/<network>/message/2.0.0`. */
export const MESSAGE_PROTOCOL = 'message/2.0.0'

/** Bytes of a value in one frame. A longer value goes in parts of exactly this size, the last one excepted. */
export const PART_BYTES = 65_536
/** A part, its ids and the protobuf around them; or OPEN with its member record. */
export const MAX_MESSAGE_FRAME_BYTES = PART_BYTES + 8192

/** How the bytes of a value are read. Numbers on the wire; new kinds may follow. */
export const VALUE_KIND = { json: 0, bytes: 1 } as const
export type ValueKind = keyof typeof VALUE_KIND

/** How the bytes of a value may be compressed. Powers of two, so that `encodings` can say which a side reads. */
export const ENCODING = { deflate: 1, brotli: 2 } as const
export type Encoding = keyof typeof ENCODING

const openSchema = {
  topic: { id: 1, type: 'bytes', max: 36, required: true },
  /** The opener's signed member record, so that one that has not heard of it yet can check it. */
  envelope: { id: 2, type: 'bytes', max: MAX_ENVELOPE_BYTES, required: true },
  /** Chosen at random once per run of the opener: ids of another session are other messages. */
  session: { id: 3, type: 'uint64', required: true },
  /** The sum of the {@link ENCODING} numbers the opener reads. */
  encodings: { id: 4, type: 'uint32' },
  /** Longest value the opener takes as an answer, in bytes. */
  maxBytes: { id: 5, type: 'uint64', required: true }
} as const

const welcomeSchema = {
  encodings: { id: 1, type: 'uint32' },
  /** Longest value that is taken, in bytes. */
  maxBytes: { id: 2, type: 'uint64', required: true }
} as const

const messageSchema = {
  /** Counts up from 1, on each stream and in each direction. */
  id: { id: 1, type: 'uint64', required: true },
  kind: { id: 2, type: 'uint32', required: true },
  body: { id: 3, type: 'bytes', max: PART_BYTES, required: true },
  /** The message of the other side that this one answers. */
  replyTo: { id: 4, type: 'uint64' },
  /** An answer is waited for. */
  wantsReply: { id: 5, type: 'bool' },
  /** Bytes of the whole value as it travels, when PARTs follow. */
  size: { id: 6, type: 'uint64' },
  /** One of {@link ENCODING}, when the value is compressed. */
  encoding: { id: 7, type: 'uint32' },
  /** Bytes of the value when it is not compressed any more; with `encoding`. */
  rawSize: { id: 8, type: 'uint64' },
  /** May come again over another stream, after this one broke: the receiver has to remember it. */
  mayRepeat: { id: 9, type: 'bool' }
} as const

const receiptSchema = {
  id: { id: 1, type: 'uint64', required: true },
  /** The first of a run of ids that ends with `id`, each of which was taken; absent for one alone. */
  since: { id: 2, type: 'uint64' }
} as const

const refusalSchema = {
  /** The message refused; absent when the whole stream is refused. */
  id: { id: 1, type: 'uint64' },
  /** One of the codes on the page of the protocol. */
  code: { id: 2, type: 'string', max: 32, required: true }
} as const

const partSchema = {
  id: { id: 1, type: 'uint64', required: true },
  body: { id: 2, type: 'bytes', max: PART_BYTES, required: true }
} as const

const cancelSchema = {
  /** A message of the sender of this frame: the rest of it does not come, and nobody waits for its answer. */
  id: { id: 1, type: 'uint64', required: true }
} as const

const messageFrameSchema = {
  open: { id: 1, message: codec(openSchema) },
  message: { id: 2, message: codec(messageSchema) },
  receipt: { id: 3, message: codec(receiptSchema) },
  refusal: { id: 4, message: codec(refusalSchema) },
  part: { id: 5, message: codec(partSchema) },
  cancel: { id: 6, message: codec(cancelSchema) },
  welcome: { id: 7, message: codec(welcomeSchema) }
} as const

/** One frame of the message protocol: exactly one field is set. */
export const messageFrameCodec = codec(messageFrameSchema)
export type MessageFrame = Shape<typeof messageFrameSchema>
export type MessageHead = Shape<typeof messageSchema>
