import { DEFAULT_DEADLINE_MS } from '../../shared/core/signals.ts'
import { MAX_MESSAGE_BYTES } from '../../shared/wire/message.ts'

// What others, and a caller who does not wait, can make us hold. docs/limits.md lists them; a test keeps the two equal.

/** Messages handed to one stream whose receipt has not come. */
export const MAX_UNRECEIPTED_MESSAGES = 256
/** Their bytes, values only; a single message always fits. */
export const MAX_UNRECEIPTED_BYTES = 4 * MAX_MESSAGE_BYTES
/** Sends that wait for room on one stream; the next one fails with `limit-reached` at once. */
export const MAX_WAITING_MESSAGES = 4096
/** Their bytes, values only. */
export const MAX_WAITING_BYTES = 64 * MAX_MESSAGE_BYTES
/** Message streams one connection may have open towards us: one per topic. */
export const MAX_MESSAGE_STREAMS_PER_CONNECTION = 64
/** Message streams we keep open towards one peer; beyond it the one idle for longest is closed. Below the cap of the other side, because its close travels. */
export const MAX_MESSAGE_STREAMS_PER_PEER = 48
/** Message streams open towards us from everybody together; more are refused with `limit-reached`. */
export const MAX_MESSAGE_STREAMS = 4096
/** A stream whose OPEN frame has not come and been judged after this long is dropped. */
export const OPEN_TIMEOUT_MS = 10_000
/** What is buffered may take this long to leave when a stream is closed; then the stream is reset. */
export const CLOSE_TIMEOUT_MS = 1000
/** A receiver that handles small messages gives others a turn after this long. */
export const MAX_TURN_MS = 10

/** What may be set when messaging is created, with what holds otherwise. */
export const DEFAULTS = {
  /** Milliseconds a send may take when its caller sets nothing. */
  timeoutMs: DEFAULT_DEADLINE_MS,
  /** Longest value sent and accepted, in bytes after encoding; at most 1 MiB. */
  maxMessageBytes: MAX_MESSAGE_BYTES,
  maxUnreceiptedMessages: MAX_UNRECEIPTED_MESSAGES,
  maxUnreceiptedBytes: MAX_UNRECEIPTED_BYTES,
  maxWaitingMessages: MAX_WAITING_MESSAGES,
  maxWaitingBytes: MAX_WAITING_BYTES,
  maxStreamsPerConnection: MAX_MESSAGE_STREAMS_PER_CONNECTION,
  maxStreamsPerPeer: MAX_MESSAGE_STREAMS_PER_PEER,
  maxStreams: MAX_MESSAGE_STREAMS,
  openTimeoutMs: OPEN_TIMEOUT_MS,
  closeTimeoutMs: CLOSE_TIMEOUT_MS
} as const

export type MessagingLimits = { readonly [K in keyof typeof DEFAULTS]: number }
