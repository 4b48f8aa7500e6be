import { shortLived } from '../../shared/core/bytes.ts'
import { type ErrorCode, MusterError } from '../../shared/core/errors.ts'
import {
  decodeMessageFrame,
  encodeMessageFrame,
  type MessageFrame,
  type MessageHead,
  messageFrameCodec
} from '../../shared/wire/message.ts'

/** Why a message, or a whole stream, may be refused; anything else the other side says counts as `refused`. */
export const REFUSAL_CODES = [
  'refused',
  'no-handler',
  'handler-failed',
  'not-a-member',
  'too-large',
  'limit-reached',
  'timed-out',
  'aborted'
] as const satisfies ErrorCode[]
export type RefusalCode = (typeof REFUSAL_CODES)[number]

/**
 * Reads one frame: exactly one kind, because a frame that says two things has no order.
 * @throws MusterError `protocol-violation`.
 */
export function readFrame(bytes: Uint8Array): MessageFrame {
  const message = decodeMessageFrame(bytes)
  if (message !== undefined) return { message }
  const frame = messageFrameCodec.decode(bytes)
  if (Object.keys(frame).length !== 1) {
    throw new MusterError('protocol-violation', 'a frame says nothing, or two things at once')
  }
  return frame
}

export function refusalCodeOf(text: string): RefusalCode {
  return REFUSAL_CODES.find(code => code === text) ?? 'refused'
}

const encode = (frame: MessageFrame): Uint8Array => messageFrameCodec.encode(frame, shortLived)

export const openFrame = (open: NonNullable<MessageFrame['open']>): Uint8Array => encode({ open })

export const welcomeFrame = (welcome: NonNullable<MessageFrame['welcome']>): Uint8Array => encode({ welcome })

export const messageFrame = (message: MessageHead): Uint8Array => encodeMessageFrame(message, shortLived)

export const partFrame = (id: number, body: Uint8Array): Uint8Array => encode({ part: { id, body } })

/** Receipts for all ids from `since` to `id`. */
export const receiptFrame = (id: number, since = id): Uint8Array =>
  encode({ receipt: since === id ? { id } : { id, since } })

export const refusalFrame = (code: RefusalCode, id?: number): Uint8Array =>
  encode({ refusal: id === undefined ? { code } : { id, code } })

export const cancelFrame = (id: number): Uint8Array => encode({ cancel: { id } })
