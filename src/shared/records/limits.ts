// docs/limits.md lists every constant; a test keeps page and code equal.

/** How long a record counts when its author says nothing, in milliseconds; also the shortest and the longest. */
export const RECORD_VALIDITY_MS = 48 * 3_600_000
export const MIN_RECORD_VALIDITY_MS = 5 * 60_000
export const MAX_RECORD_VALIDITY_MS = 30 * 86_400_000
/** How far an author's clock may be ahead of a holder's, in milliseconds. */
export const MAX_RECORD_SKEW_MS = 2 * 60_000

/** Nodes a record is stored at: Kademlia's k (T16: k = 6 finds 65 % of the true closest, 20 finds 99 %). */
export const REPLICAS = 20
/** Holders that must agree on the newest record for a read to end early; also what a write counts as well stored. */
export const QUORUM = 3
/**
 * Nodes that must have answered for that: the closest ones, not the fastest. The newest record is missed only if all of
 * them hide it: with 20 of 48 hostile 0.3 %, where three would all lie in 7 %.
 */
export const MIN_ANSWERS = 6
/** Nodes asked at all by one read or write. */
export const MAX_ASKED_NODES = 80
/** Nodes kept in mind by one read or write. */
export const MAX_CANDIDATES = 400
/** Milliseconds after which another node is asked beside one that has not answered. */
export const SLOW_NODE_MS = 500
/** Milliseconds until a node that does not answer is given up. */
export const NODE_TIMEOUT_MS = 4_000
/** Milliseconds after which a stream to a node that was asked nothing is closed; a watch asks every minute. */
export const LINE_IDLE_MS = 5 * 60_000
/** Milliseconds a read or write may take when the caller sets nothing. */
export const RECORD_DEADLINE_MS = 10_000

/** Records held for others. */
export const MAX_HELD_RECORDS = 100_000
/** Their bytes. */
export const MAX_HELD_BYTES = 268_435_456
/** Of each kind, so that one leaves room for the others. */
export const MAX_HELD_OF_KIND = 60_000
/** Parts of a hundred of these above which new keys are refused, and old ones are served and changed on. */
export const HIGH_WATER_PERCENT = 90
/** Records of one author held… */
export const MAX_RECORDS_PER_AUTHOR = 4_096
/** …and their bytes. */
export const MAX_BYTES_PER_AUTHOR = 16_777_216

/** What one peer may ask, a second: a look-up counts 1, a record to store 2… */
export const RECORD_REQUESTS_PER_SECOND = 400
/** …and at once. */
export const RECORD_REQUESTS_BURST = 4_000
/** Keys not held before that one peer may bring, a second… */
export const NEW_KEYS_PER_SECOND = 50
/** …and at once. */
export const NEW_KEYS_BURST = 10_000
/** Peers whose rates are remembered. */
export const MAX_RATED_PEERS = 4_096
/** Record streams one connection may have open towards us. */
export const MAX_RECORD_STREAMS_PER_CONNECTION = 2
/** Requests of one stream that are worked on at once; the stream is read no further meanwhile. */
export const MAX_REQUESTS_UNDER_WAY = 64
/** Changes on their way to one who watches; more, and its stream is given up: it does not read. */
export const MAX_UNSENT_CHANGES = 64
/** Keys that may be watched over one stream. */
export const MAX_WATCHES_PER_STREAM = 64
/** Milliseconds a watch lasts unless it is asked for again. */
export const WATCH_MS = 2 * 60_000
/** Changes of watched keys heard from one holder, a second… */
export const PUSHES_PER_SECOND = 20
/** …and at once. */
export const PUSHES_BURST = 200

/** Milliseconds between two looks for what expired. */
export const RECORD_SWEEP_MS = 10 * 60_000
/** Milliseconds a holder waits for others to say a record again before it does. */
export const REPUBLISH_MS = 3_600_000
/** Milliseconds after which a holder says a record again although others did: anybody may pretend to. */
export const MAX_UNSAID_MS = 6 * 3_600_000
/** Milliseconds between two looks for what is due to be said again. */
export const REPUBLISH_TICK_MS = 60_000
/** Records said again in one such look. */
export const MAX_REPUBLISHED_PER_TICK = 4_096
/** Records whose holders are chosen in one go: 20 ms. */
export const REPUBLISH_BATCH = 256
/** Records above which a newcomer is offered only those it stands closer to than this node: ranking costs 50 µs each. */
export const MAX_RANKED_OFFERS = 2_000
/** Milliseconds between two hand-overs to the same node, however often it connects. */
export const GREET_AGAIN_MS = 30_000
/** Repairs, the stores that a read leads to, under way and waiting. */
export const MAX_REPAIRS = 200
/** Newest records this node has read, so that it never reads an older one later. */
export const MAX_REMEMBERED_READS = 4_096
/** Records of its own one node may have. */
export const MAX_OWN_RECORDS = 10_000
