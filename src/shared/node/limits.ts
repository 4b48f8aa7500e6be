// What strangers can make a node hold or do, and the timings that decide when it gives up on somebody.
// docs/limits.md lists every constant; a test keeps page and code equal.

/** Open connections, both directions. Above it the least useful inbound one is closed (admission.ts). */
export const MAX_CONNECTIONS = 500
/** Slots above MAX_CONNECTIONS that let a newcomer in while another is being closed. */
export const RESERVED_CONNECTIONS = 64
/** Inbound sockets that have not proven who they are yet. libp2p's 10 lets ten silent sockets lock a node out (T13). */
export const MAX_PENDING_INBOUND = 256
/** Milliseconds an inbound socket has to finish Noise and yamux; libp2p gives 10,000 (T13). */
export const UPGRADE_TIMEOUT_MS = 3_000
/** New inbound connections a second from one /24 (IPv6 /48); libp2p allows 5 per address (T9). */
export const INBOUND_PER_PREFIX_PER_SECOND = 50
/** …and how many may come at once before that rate counts. */
export const INBOUND_PER_PREFIX_BURST = 200
/** Prefixes remembered for the rate. */
export const MAX_PREFIXES = 20_000

/** Addresses dialled for one peer. */
export const MAX_DIALLED_ADDRESSES = 16
/** Milliseconds until the next address of a peer is tried while the first has not answered. */
export const DIAL_STAGGER_MS = 150
/** Milliseconds one dial may take, TCP and handshake together. */
export const DIAL_TIMEOUT_MS = 4_000
/** Dials under way at once. */
export const MAX_PARALLEL_DIALS = 32
/** Of these, dials that only find out whether a lost peer lives; and how many of them may wait. */
export const MAX_PARALLEL_CHECKS = 4
export const MAX_WAITING_CHECKS = 256

/** Milliseconds between pings on every connection; a peer that does not answer loses it (cut network, frozen process). */
export const PING_INTERVAL_MS = 8_000
/**
 * How long such a ping waits, in milliseconds. Long, because a busy machine reads answers late: at 2,000 twelve peers
 * starting at once in one process took each other for dead. With the interval before and a dial behind, 18 s: below the
 * promised 30.
 */
export const HEARTBEAT_TIMEOUT_MS = 6_000
/** Bounds of how long a ping of the DHT, or a DHT request, waits. Below 1,000 a loaded machine fails instead (T23). */
export const PING_TIMEOUT_MS = { minTimeout: 2_000, maxTimeout: 4_000 } as const

/** Messages in which a connection or a stream agrees on its protocols: two for one proposal, one more for each other. */
export const MAX_NEGOTIATION_MESSAGES = 32
/** Milliseconds a stream that was opened towards us has to name a protocol, as in libp2p. */
export const STREAM_NEGOTIATION_TIMEOUT_MS = 10_000
/** Longest frame of identify, in bytes, as in libp2p and in Go… */
export const MAX_IDENTIFY_FRAME_BYTES = 8_192
/** …and frames on one of its streams, of which libp2p reads ten. */
export const MAX_IDENTIFY_FRAMES_PER_STREAM = 16

/** Streams one connection may have open towards us, all protocols together. */
export const MAX_STREAMS_PER_CONNECTION = 256
/** Receive window of a stream at most, in bytes: what the other side may send ahead. */
export const MAX_STREAM_WINDOW_BYTES = 1_048_576
/** Bytes a stream buffers when paused; must be above the window, or a paused stream resets itself. */
export const MAX_STREAM_READ_BYTES = 2 * MAX_STREAM_WINDOW_BYTES
/** Bytes a stream buffers when the other side does not read; yamux knows no limit (T18). */
export const MAX_STREAM_WRITE_BYTES = 4_194_304
/** Bytes a connection buffers when the other side does not read: streams wait at the first, answers to pings do not. */
export const MAX_UNSENT_CONNECTION_BYTES = 4_194_304

/** Longest frame of the DHT protocol, in bytes; kad-dht takes 4 MiB (T24). */
export const MAX_DHT_FRAME_BYTES = 65_536
export const MAX_DHT_FRAMES_PER_STREAM = 16
/**
 * Longest answer to one of our DHT requests, in bytes. An honest one names up to 64 providers and 20 closer nodes, each
 * with up to 16 addresses of 128 bytes: 180,000.
 */
export const MAX_DHT_ANSWER_BYTES = 262_144
/** DHT streams a second one peer may open… */
export const DHT_STREAMS_PER_SECOND = 200
/** …and at once. */
export const DHT_STREAMS_BURST = 1_000
/** Addresses kept per peer, and the longest of them in bytes (T24: 20,000 addresses cost 12–26 s). */
export const MAX_ADDRESSES_PER_PEER = 16
export const MAX_PEER_ADDRESS_BYTES = 128
/** Provider records under one key, and keys one peer may provide. */
export const MAX_PROVIDERS_PER_KEY = 1_000
export const MAX_KEYS_PER_PROVIDER = 128
/** Provider records in all. */
export const MAX_PROVIDER_RECORDS = 100_000
/** Providers named in one answer: a random choice when there are more (T27). */
export const MAX_PROVIDERS_PER_ANSWER = 64
/** Peers the peer store keeps, about; above it those go that were only heard of. */
export const MAX_KNOWN_PEERS = 10_000
/** Requests to provide under way at once: at 30 to one server a third failed (T15). */
export const MAX_PARALLEL_PROVIDES = 4

/** How long a provider record is served after it was stored, in milliseconds. */
export const PROVIDER_VALIDITY_MS = 30 * 60_000
