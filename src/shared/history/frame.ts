import { MusterError } from '../core/errors.ts'
import { type HistoryFrame, historyFrameCodec } from '../wire/history.ts'

/** Why a keeper may refuse; anything else it says counts as `refused`. */
export const HISTORY_REFUSALS = ['not-kept', 'not-a-member', 'limit-reached'] as const
export type HistoryRefusal = (typeof HISTORY_REFUSALS)[number]

/**
 * Reads one frame: exactly one kind, because a frame that says two things has no order.
 * @throws MusterError `protocol-violation`.
 */
export function readHistoryFrame(bytes: Uint8Array): HistoryFrame {
  const frame = historyFrameCodec.decode(bytes)
  if (Object.keys(frame).length !== 1) {
    throw new MusterError('protocol-violation', 'a frame is not exactly one of ask, entry, end, refusal')
  }
  return frame
}

export const askFrame = (topic: Uint8Array, envelope: Uint8Array, limit: number): Uint8Array =>
  historyFrameCodec.encode({ ask: { topic, envelope, limit } })

export const entryFrame = (proof: Uint8Array): Uint8Array => historyFrameCodec.encode({ entry: { proof } })

export const endFrame = (): Uint8Array => historyFrameCodec.encode({ end: {} })

export const historyRefusalFrame = (code: HistoryRefusal): Uint8Array => historyFrameCodec.encode({ refusal: { code } })
