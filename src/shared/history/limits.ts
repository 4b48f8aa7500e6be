// What a keeper holds and serves, and what a reader takes. docs/limits.md lists every constant; a test keeps the two equal.

/** Messages kept of one topic… */
export const MAX_KEPT_MESSAGES = 1_000
/** …their bytes… */
export const MAX_KEPT_BYTES = 16_777_216
/** …and how long, in milliseconds: 7 days from when it was sent, or received if its author's clock is ahead. */
export const KEPT_MS = 7 * 86_400_000
/** Bytes kept of all topics together. */
export const MAX_KEPT_BYTES_IN_ALL = 268_435_456
/** Bytes taken that the disk has not; what comes beyond is not kept. */
export const MAX_UNWRITTEN_BYTES = 8_388_608
/** Milliseconds between two looks for what is past its time. */
export const SWEEP_MS = 10 * 60_000

/** Answers given at once, to everybody together. */
export const MAX_ANSWERS = 32
/** History streams one connection may have open towards us. */
export const MAX_HISTORY_STREAMS_PER_CONNECTION = 2
/** Milliseconds until a stream must have asked. */
export const ASK_TIMEOUT_MS = 10_000
/** Milliseconds one answer may take, so that one that does not read gives its place free. */
export const ANSWER_TIMEOUT_MS = 20_000
/** Bytes a second one asker may get… */
export const ANSWER_BYTES_PER_SECOND = 1_048_576
/** …and at once: two whole topics. */
export const ANSWER_BYTES_BURST = 33_554_432
/** What asking costs of them, whatever the answer: a signature is checked, rows are chosen. */
export const ASK_COST_BYTES = 65_536
/** Askers whose rate is remembered. */
export const MAX_ASKERS = 4_096

/** Keepers asked at once for one topic… */
export const MAX_PARALLEL_ASKS = 3
/** …not counting those that have not finished after so many milliseconds: silent ones hold up nobody… */
export const SLOW_KEEPER_MS = 1_000
/** …and all of them together. */
export const MAX_ASKS_UNDER_WAY = 16
/** Keepers that had something to tell, after which nobody else is asked: one may lie, by leaving out. */
export const ENOUGH_KEEPERS = 3
/** Members asked for one topic, keepers or not. */
export const MAX_ASKED = 256
/** Milliseconds a keeper may be silent before its answer, and between two messages. */
export const SILENCE_TIMEOUT_MS = 5_000
