// What neighbours in the gossip mesh can make a node hold or do. docs/limits.md lists every constant; a test keeps page and code equal.

/** Longest RPC of gossipsub, in bytes; the same as in Go. Its own limit is 4 MiB. */
export const MAX_GOSSIP_RPC_BYTES = 1_048_576
/** Bytes that wait for a neighbour that does not read, before its stream is given up; gossipsub knows no limit (T18). */
export const MAX_GOSSIP_UNSENT_BYTES = 4_194_304
/** Gossip streams one connection may have open towards us; a new one replaces the one before. */
export const MAX_GOSSIP_STREAMS_PER_CONNECTION = 4
/** Subscriptions in one RPC. */
export const MAX_GOSSIP_SUBSCRIPTIONS_PER_RPC = 1_024
/** Messages in one RPC: each costs a signature. */
export const MAX_GOSSIP_MESSAGES_PER_RPC = 256
/** Message ids in one list of an RPC. */
export const MAX_GOSSIP_IDS_PER_RPC = 5_000
/** IHAVE, IWANT, GRAFT, PRUNE and IDONTWANT in one RPC, each. */
export const MAX_GOSSIP_CONTROLS_PER_RPC = 1_024
/** What is remembered of one neighbour's topics, in bytes; gossipsub reckons 1,024 and the name for each: 140 topics. */
export const MAX_GOSSIP_TOPIC_BYTES_PER_PEER = 163_840
/** Scores kept of neighbours that have gone with a bad one. */
export const MAX_GOSSIP_SCORES = 2_048

/** Messages a second from one neighbour… */
export const GOSSIP_MESSAGES_PER_SECOND = 1_000
/** …and at once. Above it they are dropped before their signature is looked at. */
export const GOSSIP_MESSAGES_BURST = 4_000
/** Bytes that count as one message more. */
export const GOSSIP_BYTES_PER_TOKEN = 8_192
/** Messages a second from one neighbour that were neither wanted nor wrong… */
export const IGNORED_MESSAGES_PER_SECOND = 10
/** …and at once. Each above it costs the neighbour score. */
export const IGNORED_MESSAGES_BURST = 100
/** Ignored messages of one author that a neighbour may pass on, a second: what it may have accepted itself… */
export const FORGIVEN_PER_AUTHOR_PER_SECOND = 20
/** …and at once: twice that, because a slow hop bunches them. */
export const FORGIVEN_PER_AUTHOR_BURST = 280
/** Neighbours whose rates are remembered, and as many pairs of a neighbour and an author. */
export const MAX_RATED_NEIGHBOURS = 2_048

/** Messages up to so many bytes go to every neighbour in the topic at once, not to those in the mesh alone. */
export const MAX_FLOODED_BYTES = 8_192
/** Milliseconds until a gossip stream that broke is opened again. */
export const GOSSIP_MEND_MS = 1_000
/** Milliseconds that what was said last may take to leave when a node closes; then its gossip streams are reset. */
export const GOSSIP_CLOSE_MS = 1_000

/** What a message costs of a rate: one, and one more for each {@link GOSSIP_BYTES_PER_TOKEN}. */
export function gossipCost(bytes: number): number {
  return 1 + Math.floor(bytes / GOSSIP_BYTES_PER_TOKEN)
}
