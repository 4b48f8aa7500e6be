import { type ErrorCode, MusterError } from '../../shared/core/errors.ts'
import { MAX_STREAM_NAME_BYTES, type StreamFrame, streamFrameCodec } from '../../shared/wire/stream.ts'

/** Why a receiver may refuse a stream; anything else it says counts as `no-handler`. */
export const REFUSAL_CODES = ['no-handler', 'not-a-member', 'limit-reached'] as const satisfies ErrorCode[]
export type RefusalCode = (typeof REFUSAL_CODES)[number]

/**
 * Reads one frame: exactly one kind, because a frame that says two things has no order.
 * @throws MusterError `protocol-violation`.
 */
export function readFrame(bytes: Uint8Array): StreamFrame {
  const frame = streamFrameCodec.decode(bytes)
  let kinds = 0
  for (const _kind in frame) kinds++
  if (kinds !== 1) throw new MusterError('protocol-violation', 'a frame is not exactly one of its kinds')
  return frame
}

/**
 * Reads what the other side answers to OPEN: undefined when it took the stream.
 * @throws MusterError `protocol-violation`.
 */
export function readAnswer(bytes: Uint8Array): RefusalCode | undefined {
  const { accept, refusal } = readFrame(bytes)
  if (accept !== undefined) return undefined
  if (refusal === undefined) throw new MusterError('protocol-violation', 'the answer neither accepts nor refuses')
  return REFUSAL_CODES.find(code => code === refusal.code) ?? 'no-handler'
}

/** True for 1 to 64 bytes of well-formed text. */
export function isStreamName(name: unknown): name is string {
  if (typeof name !== 'string' || name === '' || !name.isWellFormed()) return false
  return new TextEncoder().encode(name).length <= MAX_STREAM_NAME_BYTES
}

export const openFrame = (topic: Uint8Array, envelope: Uint8Array, name: string): Uint8Array =>
  streamFrameCodec.encode({ open: { topic, envelope, name } })

export const refusalFrame = (code: RefusalCode): Uint8Array => streamFrameCodec.encode({ refusal: { code } })

export const dataFrame = (data: Uint8Array): Uint8Array => streamFrameCodec.encode({ data })

export const ACCEPT_FRAME = streamFrameCodec.encode({ accept: {} })
export const END_FRAME = streamFrameCodec.encode({ end: {} })
export const DONE_FRAME = streamFrameCodec.encode({ done: {} })
