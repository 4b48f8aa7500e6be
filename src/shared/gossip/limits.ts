// docs/limits.md lists every constant; a test keeps page and code equal.

/** How far an author's clock may differ from ours, in milliseconds, travel included, for a broadcast to count. */
export const MAX_BROADCAST_SKEW_MS = 2 * 60_000
/** Sequence numbers below an author's highest that may still come, each once. */
export const BROADCAST_WINDOW = 1_024
/** Authors, by topic, whose sequence numbers are remembered. */
export const MAX_BROADCAST_AUTHORS = 8_192
/** Member records of authors that are not verified again. */
export const MAX_AUTHOR_RECORDS = 1_024
/**
 * Milliseconds after its last broadcast until an author is forgotten. Nothing it said by then passes the time window any
 * more: that is twice the skew wide.
 */
export const BROADCAST_AUTHOR_MS = 2 * MAX_BROADCAST_SKEW_MS
/** What one author may say in one topic, a second: broadcasts, each {@link BROADCAST_BYTES_PER_TOKEN} counting as one more… */
export const BROADCASTS_PER_SECOND = 20
/** …and at once. */
export const BROADCASTS_BURST = 100
/** …and at once as others see it: what was said over 2 s may arrive together. */
export const BROADCASTS_BURST_SEEN = 140
export const BROADCAST_BYTES_PER_TOKEN = 8_192
/** What all authors together may say, a second, in the same measure: bounds what gossipsub keeps to pass on, 16 MiB a second… */
export const ALL_BROADCASTS_PER_SECOND = 2_000
/** …and at once. */
export const ALL_BROADCASTS_BURST = 6_000
/** Sequence numbers reserved on disk at a time, so that none comes twice after a crash. */
export const RESERVED_SEQUENCES = 1_024
/** Milliseconds in which rows of authors are gathered before they are written together. */
export const AUTHOR_ROWS_MS = 100
