import { DEFAULT_DEADLINE_MS } from '../../shared/core/signals.ts'
import { PART_BYTES } from '../../shared/wire/message.ts'
import { MAX_WAIT_MS } from '../times.ts'

// What others, and a caller who does not wait, can make us hold. docs/limits.md lists them; a test keeps the two equal.

/** Longest value sent and taken, in bytes, unless `maxMessageBytes` says otherwise. */
export const MAX_MESSAGE_BYTES = 64 * 1_048_576
/** Bytes of values in parts under way from one peer, and to one peer, unless `maxPeerBytes` says otherwise. */
export const MAX_PEER_BYTES = 256 * 1_048_576
/** Bytes that are here of large values under way from everybody together, packed and unpacked. */
export const MAX_INCOMING_BYTES = 1024 * 1_048_576
/** Values in parts under way at once on one stream and in one direction. */
export const MAX_TRANSFERS = 16
/** A value in parts of which nothing comes for this long is dropped. */
export const TRANSFER_IDLE_MS = 30_000
/** Messages of one part handed to one stream that are not answered with a receipt, a refusal or a reply. */
export const MAX_UNRECEIPTED_MESSAGES = 256
/** Their bytes, values only; a single one always fits. */
export const MAX_UNRECEIPTED_BYTES = 64 * PART_BYTES
/** Sends that wait for room on one stream; the next one fails with `limit-reached` at once. */
export const MAX_WAITING_MESSAGES = 4096
/** Bytes of those that are one part long. */
export const MAX_WAITING_BYTES = 1024 * PART_BYTES
/** Requests to one peer in one topic whose answer has not come. */
export const MAX_ASKED = 4096
/** Requests on one stream that our application has taken and not answered. */
export const MAX_OPEN_REQUESTS = 4096
/** Receipts, refusals and cancels that wait to be said; one who reads has at most those for all its messages, and ours. */
export const MAX_UNSAID_ANSWERS = 4 * MAX_OPEN_REQUESTS
/** What came over a stream that broke is remembered for this long: twice as long as a sender may try again. */
export const RESEND_MEMORY_MS = 2 * MAX_WAIT_MS
/** Senders, each in one topic, whose last messages are remembered. */
export const MAX_REMEMBERED_SENDERS = 4096
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
/** Shortest and longest pause before a member that is away is tried again, for those who wait for it. */
export const RETRY_MIN_MS = 100
export const RETRY_MAX_MS = 2000

/** What may be set when messaging is created, with what holds otherwise. */
export const DEFAULTS = {
  /** Milliseconds a send or a request may take when its caller sets nothing. */
  timeoutMs: DEFAULT_DEADLINE_MS,
  maxMessageBytes: MAX_MESSAGE_BYTES,
  maxPeerBytes: MAX_PEER_BYTES,
  maxIncomingBytes: MAX_INCOMING_BYTES,
  maxTransfers: MAX_TRANSFERS,
  transferIdleMs: TRANSFER_IDLE_MS,
  maxUnreceiptedMessages: MAX_UNRECEIPTED_MESSAGES,
  maxUnreceiptedBytes: MAX_UNRECEIPTED_BYTES,
  maxWaitingMessages: MAX_WAITING_MESSAGES,
  maxWaitingBytes: MAX_WAITING_BYTES,
  maxAsked: MAX_ASKED,
  maxOpenRequests: MAX_OPEN_REQUESTS,
  maxStreamsPerConnection: MAX_MESSAGE_STREAMS_PER_CONNECTION,
  maxStreamsPerPeer: MAX_MESSAGE_STREAMS_PER_PEER,
  maxStreams: MAX_MESSAGE_STREAMS,
  openTimeoutMs: OPEN_TIMEOUT_MS,
  closeTimeoutMs: CLOSE_TIMEOUT_MS,
  /** Values longer than this many bytes are compressed for those who read it; never by default. */
  compressAbove: Number.POSITIVE_INFINITY
} as const

export type MessagingLimits = { readonly [K in keyof typeof DEFAULTS]: number }
