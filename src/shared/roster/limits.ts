// docs/limits.md lists every constant; a test keeps page and code equal.

/** How long a member record counts, in milliseconds; it is renewed at a third of it. */
export const RECORD_VALIDITY_MS = 30 * 60_000
/** Longest validity accepted from others. */
export const MAX_RECORD_VALIDITY_MS = 2 * 60 * 60_000
/** How far clocks of two hosts may differ before records are refused. */
export const MAX_CLOCK_SKEW_MS = 5 * 60_000

/** Topics one node keeps a roster of. */
export const MAX_TOPICS = 10_000
/** Members kept per topic. */
export const MAX_MEMBERS_PER_TOPIC = 4_096
/** Members kept in all, goodbyes that are still remembered included. */
export const MAX_ROSTER_ENTRIES = 50_000
/** Topics one peer may be listed in. */
export const MAX_TOPICS_PER_PEER = 128
/** Members one neighbour may make known that did not come to us themselves. */
export const MAX_VOUCHED_PER_PEER = 1_024
/** Members a bootstrap heard of from nobody it trusts, until it has checked them itself: a quarter of a topic. */
export const MAX_RUMOURS = 1_024

/** Topics left whose goodbye is kept, for those the news of our joining is still on its way to. */
export const MAX_FAREWELLS = 256
/** Rows of members gone that a peer keeps as addresses to try after a restart, when nobody else is left. */
export const MAX_ADDRESS_BOOK = 256
/** Milliseconds such a row is kept after the record expired. */
export const ADDRESS_BOOK_MS = 7 * 86_400_000

/** Topic streams one connection may have open towards us. */
export const MAX_TOPIC_STREAMS_PER_CONNECTION = 4
/** Frames a second on one topic stream… */
export const TOPIC_FRAMES_PER_SECOND = 200
/** …and at once. */
export const TOPIC_FRAMES_BURST = 2_000

/** Frames a second with which topics are shared with another bootstrap, half of what it takes: the rest is for news… */
export const FOLLOW_FRAMES_PER_SECOND = 100
/** …and at once. */
export const FOLLOW_FRAMES_BURST = 1_000
/** Milliseconds until it is looked again whether more may be sent. */
export const FOLLOW_PAUSE_MS = 1_000
/** Topics a bootstrap is asked about at once: answers have up to 258 KiB, and it keeps 8 MiB of them at most. */
export const MAX_PARALLEL_FOLLOWS = 30
/** Milliseconds until a bootstrap whose topic stream ended, though it is connected, is asked again. */
export const REFOLLOW_MS = 1_000
/** Milliseconds a HELLO waits for its answer. */
export const HELLO_TIMEOUT_MS = 5_000
/** Members we have reached that are checked at once for being alive… */
export const MAX_PARALLEL_PROBES = 16
/** …and members we only heard of. */
export const MAX_PARALLEL_HEARSAY_PROBES = 8
/** Milliseconds after a start until members remembered from before are checked; most come back by themselves. */
export const RESTART_GRACE_MS = 5_000
/** Milliseconds in which a member that was just found alive is not checked again. */
export const PROBE_PAUSE_MS = 5_000

/** Frames that wait for a neighbour that does not read, before its stream is given up; it comes back and asks anew. */
export const MAX_UNSENT_TOPIC_FRAMES = 1_024
/** Their bytes: an answer may have 260 KiB, and a HELLO that asks for it has 60 bytes. */
export const MAX_UNSENT_TOPIC_BYTES = 8_388_608
/** Milliseconds the end of a topic stream waits for a neighbour to read what was said. */
export const TOPIC_CLOSE_MS = 1_000
/** Milliseconds a member that cannot be reached stays listed, in case its goodbye comes by way of others. */
export const GOODBYE_GRACE_MS = 500
