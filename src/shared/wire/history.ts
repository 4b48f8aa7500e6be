import { MAX_PROOF_BYTES } from './broadcast.ts'
import { codec, type Shape } from './codec.ts'
import { MAX_ENVELOPE_BYTES } from './topic.ts'

/** Short name of the history protocol; on the wire `/muster/<network>/history/1.0.0`. */
export const HISTORY_PROTOCOL = 'history/1.0.0'

/** Messages one answer may have. */
export const MAX_HISTORY_MESSAGES = 1_000
/** A proof in its frame. */
export const MAX_HISTORY_FRAME_BYTES = MAX_PROOF_BYTES + 64

const askSchema = {
  topic: { id: 1, type: 'bytes', max: 36, required: true },
  /** The asker's signed member record, so that a keeper that has not heard of it yet can check it. */
  envelope: { id: 2, type: 'bytes', max: MAX_ENVELOPE_BYTES, required: true },
  /** Messages wanted, the newest; at least 1. */
  limit: { id: 3, type: 'uint32', required: true }
} as const

const entrySchema = {
  proof: { id: 1, type: 'bytes', max: MAX_PROOF_BYTES, required: true }
} as const

const refusalSchema = {
  /** `not-kept`: the topic is not kept here. `not-a-member`: the asker, or the keeper, is not in it. `limit-reached`. */
  code: { id: 1, type: 'string', max: 32, required: true }
} as const

const historyFrameSchema = {
  ask: { id: 1, message: codec(askSchema) },
  entry: { id: 2, message: codec(entrySchema) },
  /** The answer is complete. Later versions may say more in it. */
  end: { id: 3, message: codec({}) },
  refusal: { id: 4, message: codec(refusalSchema) }
} as const

/** One frame of the history protocol: exactly one field is set. */
export const historyFrameCodec = codec(historyFrameSchema)
export type HistoryFrame = Shape<typeof historyFrameSchema>
