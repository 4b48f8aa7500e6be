import { DEFAULT_DEADLINE_MS } from '../../shared/core/signals.ts'

// What others, and a caller who does not wait, can make us hold. docs/limits.md lists them; a test keeps the two equal.

/** Bytes that came and were not read before the stream is paused; flow control below then stops the sender. */
export const MAX_UNREAD_BYTES = 131_072
/** Bytes of writes that wait on one stream; one more aborts it with `limit-reached`. A single write always fits. */
export const MAX_UNSENT_BYTES = 16_777_216
/** Raw streams one connection may have open towards us before the stack below resets more. */
export const MAX_RAW_STREAMS_PER_CONNECTION = 64
/** Raw streams between us and one peer, each direction of opening by itself; more are refused with `limit-reached`. */
export const MAX_RAW_STREAMS_PER_PEER = 32
/** Raw streams open towards us from everybody together; more are refused with `limit-reached`. */
export const MAX_RAW_STREAMS = 512
/** A stream whose OPEN frame has not come and been judged after this long is dropped. */
export const OPEN_TIMEOUT_MS = 10_000
/** After `close()` the other side may take this long for what is still on its way; then the stream is reset. */
export const LINGER_MS = 30_000
/** What is on its way may take this long when the topic is left or the peer closes; then the stream is reset. */
export const CLOSE_TIMEOUT_MS = 1000
/** Streams of a member that said goodbye may go on this long: what it wrote before may still be on its way. */
export const GOODBYE_TIMEOUT_MS = 5000

/** What may be set when streams are created, with what holds otherwise. */
export const DEFAULTS = {
  /** Milliseconds until the other side must have taken a stream, when the caller sets nothing. */
  timeoutMs: DEFAULT_DEADLINE_MS,
  maxUnreadBytes: MAX_UNREAD_BYTES,
  maxUnsentBytes: MAX_UNSENT_BYTES,
  maxStreamsPerConnection: MAX_RAW_STREAMS_PER_CONNECTION,
  maxStreamsPerPeer: MAX_RAW_STREAMS_PER_PEER,
  maxStreams: MAX_RAW_STREAMS,
  openTimeoutMs: OPEN_TIMEOUT_MS,
  lingerMs: LINGER_MS,
  closeTimeoutMs: CLOSE_TIMEOUT_MS,
  goodbyeTimeoutMs: GOODBYE_TIMEOUT_MS
} as const

export type StreamLimits = { readonly [K in keyof typeof DEFAULTS]: number }
