import { type ErrorCode, MusterError } from '../../shared/core/errors.ts'
import { type MessageFrame, messageFrameCodec } from '../../shared/wire/message.ts'

/** Why a receiver may refuse a message, or a whole stream; anything else it says counts as `refused`. */
export const REFUSAL_CODES = ['refused', 'not-a-member', 'too-large', 'limit-reached'] as const satisfies ErrorCode[]
export type RefusalCode = (typeof REFUSAL_CODES)[number]

/** Receipts and refusals are a few bytes; what is longer is none. */
const MAX_REPLY_BYTES = 256

/**
 * Reads one frame: exactly one kind, because a frame that says two things has no order.
 * @throws MusterError `protocol-violation`.
 */
export function readFrame(bytes: Uint8Array): MessageFrame {
  const frame = messageFrameCodec.decode(bytes)
  if (Object.keys(frame).length !== 1) {
    throw new MusterError('protocol-violation', 'a frame is not exactly one of open, message, receipt, refusal')
  }
  return frame
}

export type Reply =
  | { readonly id: number; readonly code?: never }
  /** Without an id the whole stream is refused. */
  | { readonly id: number | undefined; readonly code: RefusalCode }

/**
 * Reads what a receiver answers.
 * @throws MusterError `protocol-violation`.
 */
export function readReply(bytes: Uint8Array): Reply {
  if (bytes.length > MAX_REPLY_BYTES) throw new MusterError('protocol-violation', 'a reply is too long')
  const { receipt, refusal } = readFrame(bytes)
  if (receipt !== undefined) return { id: receipt.id }
  if (refusal === undefined) throw new MusterError('protocol-violation', 'a receiver sent neither receipt nor refusal')
  return { id: refusal.id, code: REFUSAL_CODES.find(code => code === refusal.code) ?? 'refused' }
}

export const openFrame = (topic: Uint8Array, envelope: Uint8Array): Uint8Array =>
  messageFrameCodec.encode({ open: { topic, envelope } })

export const messageFrame = (id: number, kind: number, body: Uint8Array): Uint8Array =>
  messageFrameCodec.encode({ message: { id, kind, body } })

export const receiptFrame = (id: number): Uint8Array => messageFrameCodec.encode({ receipt: { id } })

export const refusalFrame = (code: RefusalCode, id?: number): Uint8Array =>
  messageFrameCodec.encode({ refusal: id === undefined ? { code } : { id, code } })
