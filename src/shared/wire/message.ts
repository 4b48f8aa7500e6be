import { encodeUint8Array, encodingLength } from 'uint8-varint'
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

/** Tag of `message` in a frame, and of its fields: number times eight, and the wire type. */
const TAG = { message: 0x12, id: 0x08, kind: 0x10, body: 0x1a, replyTo: 0x20, wantsReply: 0x28 } as const

/**
 * A frame with a message, as {@link messageFrameCodec} writes it, three times as fast: nearly all frames are one of these.
 * What is rare goes through the codec.
 */
export function encodeMessageFrame(head: MessageHead, allocate: (length: number) => Uint8Array): Uint8Array {
  const { id, kind, body, replyTo, wantsReply } = head
  if (head.size !== undefined || head.encoding !== undefined || head.mayRepeat !== undefined) {
    return messageFrameCodec.encode({ message: head }, allocate)
  }
  const { length } = body
  let inner = 3 + encodingLength(id) + encodingLength(kind) + encodingLength(length) + length
  if (replyTo !== undefined) inner += 1 + encodingLength(replyTo)
  if (wantsReply !== undefined) inner += 2
  const bytes = allocate(1 + encodingLength(inner) + inner)
  let at = writeVarint(bytes, 0, TAG.message, inner)
  at = writeVarint(bytes, at, TAG.id, id)
  at = writeVarint(bytes, at, TAG.kind, kind)
  at = writeVarint(bytes, at, TAG.body, length)
  bytes.set(body, at)
  at += length
  if (replyTo !== undefined) at = writeVarint(bytes, at, TAG.replyTo, replyTo)
  if (wantsReply !== undefined) writeVarint(bytes, at, TAG.wantsReply, wantsReply ? 1 : 0)
  return bytes
}

function writeVarint(bytes: Uint8Array, at: number, tag: number, value: number): number {
  bytes[at] = tag
  if (value < 0x80) {
    bytes[at + 1] = value
    return at + 2
  }
  encodeUint8Array(value, bytes, at + 1)
  return at + 1 + encodingLength(value)
}

/**
 * The message of a frame that {@link encodeMessageFrame} writes by itself; undefined for any other frame, which the codec
 * reads, or refuses.
 */
export function decodeMessageFrame(bytes: Uint8Array): MessageHead | undefined {
  if (bytes[0] !== TAG.message) return undefined
  const reader = { bytes, at: 1 }
  const inner = readVarint(reader)
  if (inner === undefined || reader.at + inner !== bytes.length || bytes[reader.at++] !== TAG.id) return undefined
  const id = readVarint(reader)
  if (bytes[reader.at++] !== TAG.kind) return undefined
  const kind = readVarint(reader)
  if (bytes[reader.at++] !== TAG.body) return undefined
  const length = readVarint(reader)
  if (id === undefined || kind === undefined || length === undefined || length > PART_BYTES) return undefined
  const end = reader.at + length
  if (end > bytes.length) return undefined
  const body = bytes.subarray(reader.at, end)
  if (end === bytes.length) return { id, kind, body }
  reader.at = end
  let replyTo: number | undefined
  if (bytes[reader.at] === TAG.replyTo) {
    reader.at++
    replyTo = readVarint(reader)
    if (replyTo === undefined) return undefined
  }
  const wantsReply = bytes[reader.at] === TAG.wantsReply && bytes[reader.at + 1] === 1
  if (wantsReply) reader.at += 2
  if (reader.at !== bytes.length) return undefined
  if (replyTo === undefined) return { id, kind, body, wantsReply }
  return wantsReply ? { id, kind, body, replyTo, wantsReply } : { id, kind, body, replyTo }
}

/** A varint of up to four bytes; undefined for a longer one. */
function readVarint(reader: { readonly bytes: Uint8Array; at: number }): number | undefined {
  const { bytes } = reader
  let value = 0
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = bytes[reader.at++]
    if (byte === undefined) return undefined
    value |= (byte & 0x7f) << shift
    if (byte < 0x80) return value
  }
  return undefined
}
