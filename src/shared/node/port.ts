import type { DialAddress, PeerAddress, PeerId } from '../core/address.ts'
import type { Subscribable } from '../core/events.ts'
import type { Closable, Undo } from '../core/lifecycle.ts'
import type { TopicId } from '../core/topic.ts'
import type { Position } from './position.ts'

/** Options every wait takes. */
export interface WaitOptions {
  readonly signal?: AbortSignal
}

export interface ConnectOptions extends WaitOptions {
  /**
   * Called with who answered at a {@link DialAddress}. When it throws, `connect` rejects with that and the connection just
   * made is closed; others to the same peer stay.
   */
  readonly check?: (peerId: PeerId) => void
}

export interface ConnectionInfo {
  readonly peerId: PeerId
  readonly inbound: boolean
  /** Where the other side is, as a multiaddr without `/p2p/…`. */
  readonly address: string
}

export interface NodeEvents extends Record<string, unknown> {
  /** The first connection to a peer is open and its identity is proven. */
  connect: ConnectionInfo
  /** The last connection to a peer is gone. */
  disconnect: { readonly peerId: PeerId }
  /** The addresses others can reach us at have changed. */
  addresses: readonly string[]
}

export interface ChannelLimits {
  /** Longest frame accepted, in bytes. A longer one aborts the channel before anything is allocated for it. */
  readonly maxFrameBytes: number
}

export interface OpenOptions extends WaitOptions, ChannelLimits {
  /** Frames that travel in the opening flight: the answer to them comes one round trip after the call. */
  readonly first?: readonly Uint8Array[]
}

export interface HandleOptions extends ChannelLimits {
  /** Channels of this protocol one connection may have open towards us; more are reset. */
  readonly maxInboundPerConnection: number
}

/**
 * One stream as frames: whole byte strings in order, both ways, with back-pressure.
 * The other side's identity is proven by the connection below.
 */
export interface Channel {
  readonly peerId: PeerId
  readonly inbound: boolean
  /** Aborted once nothing more can be sent or read; its reason is a `MusterError`. */
  readonly signal: AbortSignal
  /**
   * Hands one frame to the stream, in call order. Resolves as soon as there is room for the next one, not when it
   * arrived. Frames of one turn of the event loop travel together. The bytes are the channel's from now on: they may be
   * sent later, uncopied.
   * @throws MusterError `closed` | `protocol-violation` when the channel is gone; `too-large` over the frame limit.
   */
  send(frame: Uint8Array): Promise<void>
  /**
   * Frames in order, each time all that are there; never an empty list. May be iterated once. Ends when the other side
   * closed its half; throws what broke the channel. The stream is paused while too many frames wait, or are in the
   * batch that was taken last.
   */
  readonly batches: AsyncIterable<readonly Uint8Array[]>
  /** The frames of `batches` one by one: iterate one of the two. For a few frames; each costs a turn of its own. */
  readonly frames: AsyncIterable<Uint8Array>
  /** Sends what is buffered, then closes our half: the other side reads to the end, and what it still says can be read. */
  end(): Promise<void>
  /** Sends what is buffered, then closes both halves. */
  close(): Promise<void>
  /** Drops everything at once and resets the stream. */
  abort(reason: Error): void
}

/** Rows of the DHT a node holds. */
export interface DhtCounts {
  readonly providers: number
}

/** The part of the Kademlia DHT that the rest needs. Keys are CIDs in bytes. */
export interface Dht {
  /** Nodes in the routing table. */
  readonly size: number
  /** Resolves once a query can be answered: the table has an entry, or this node may answer alone. */
  ready(options?: WaitOptions): Promise<void>
  /** Runs one real query. True when the DHT answered. */
  answers(options?: WaitOptions): Promise<boolean>
  /**
   * Stores a provider record for `key` at the closest nodes and reads it back from them.
   * Resolves with those that hold it; an empty list means nobody does.
   */
  provide(key: Uint8Array, options?: WaitOptions): Promise<readonly PeerId[]>
  /** Stops providing `key` from here. Remote copies live until they expire or a goodbye deletes them. */
  unprovide(key: Uint8Array): Promise<void>
  /** Deletes the provider record of `peerId` under `key` that this node holds, if any. */
  forget(key: Uint8Array, peerId: PeerId): Promise<void>
  /** Providers as answers come in, each peer once, self excluded. Addresses are rumours. */
  providers(key: Uint8Array, options?: WaitOptions): AsyncIterable<PeerAddress>
  /**
   * The nodes closest to `target`, of those this node knows, the closest first. Their addresses may be unknown (empty)
   * for a moment after a start. Empty while the DHT is starting.
   */
  closest(target: Position, count: number): readonly PeerAddress[]
  /** Rows this node holds. */
  counts(): Promise<DhtCounts>
}

/** A message of the gossip mesh whose author's signature holds. What its `data` says is still to be judged. */
export interface GossipMessage {
  readonly topicId: TopicId
  readonly author: PeerId
  /** The neighbour it came from: an honest one has judged it as we do. */
  readonly from: PeerId
  readonly data: Uint8Array
  /** The message as its author signed it: a libp2p pubsub message in protobuf, in the one encoding {@link OpenProof} takes. */
  readonly proof: Uint8Array
}

/**
 * `accept`: passed on. `ignore`: dropped, nobody is to blame. `reject`: dropped, and whoever passed it on is known as a
 * sender of rubbish: soon nothing more is taken from it.
 */
export type GossipVerdict = 'accept' | 'ignore' | 'reject'

/** Messages to everybody in a topic, over many hops: each node passes on what it accepts, once, to a few neighbours. */
export interface Gossip {
  /**
   * Takes part in a topic: passes on what `judge` accepts. Each message comes once, own ones never. Subscribing twice to
   * one topic is an error of the caller.
   */
  subscribe(topicId: TopicId, judge: (message: GossipMessage) => Promise<GossipVerdict>): Undo
  /**
   * Signs `data` and hands it to the neighbours; an empty list of them is no error.
   * @throws MusterError `closed`; `aborted` before anything was sent.
   */
  publish(topicId: TopicId, data: Uint8Array, options?: WaitOptions): Promise<Published>
  /** Who shares a topic's mesh with us right now. */
  neighbours(topicId: TopicId): readonly PeerId[]
}

export interface Published {
  readonly peers: readonly PeerId[]
  /** As in {@link GossipMessage}. */
  readonly proof: Uint8Array
}

/**
 * Everything Muster needs from a peer-to-peer stack. Two implementations: libp2p over TCP, and an in-memory
 * network for simulations; `test/contract/node.ts` says what both must do.
 */
export interface Node extends Closable, Subscribable<NodeEvents> {
  readonly peerId: PeerId
  readonly network: string
  /** Where others can reach us, announced addresses first, without `/p2p/…`. */
  readonly addresses: readonly string[]
  readonly dht: Dht
  readonly gossip: Gossip
  connections(): readonly ConnectionInfo[]
  isConnected(peerId: PeerId): boolean
  /**
   * Makes sure a connection is open; resolves with the proven peer id. Addresses are tried together, the first wins.
   * @throws MusterError `unreachable` | `timed-out` | `aborted` | `network-mismatch` | `closed`.
   */
  connect(target: PeerAddress | DialAddress, options?: ConnectOptions): Promise<PeerId>
  /** Closes all connections to a peer. */
  disconnect(peerId: PeerId): Promise<void>
  /** Measured round trip over a fresh exchange, in milliseconds; rejects when the peer does not answer. */
  ping(peerId: PeerId, options?: WaitOptions): Promise<number>
  /**
   * Opens a channel over an existing connection. `protocol` is the short name, e.g. `topic/1.0.0`;
   * the node makes `/muster/<network>/topic/1.0.0` of it.
   * May resolve before the other side has agreed: when it does not speak the protocol, either this rejects, or the
   * channel breaks, with `network-mismatch`.
   * @throws MusterError `unreachable` when not connected; `too-large` for a first frame over the limit; `network-mismatch`, `timed-out`, `aborted`, `closed`.
   */
  open(peerId: PeerId, protocol: string, options: OpenOptions): Promise<Channel>
  /** Serves a protocol. A handler that throws or rejects aborts its channel and nothing else. */
  handle(protocol: string, options: HandleOptions, handler: (channel: Channel) => void | Promise<void>): Undo
  /** Signs `payload` as a libp2p signed envelope (RFC 0002) under `domain`, of at most `maxBytes`: 4,096 by default. */
  seal(domain: string, payload: Uint8Array, maxBytes?: number): Promise<Uint8Array>
}

/**
 * Opens a signed envelope: Ed25519 keys only, domain and signature checked.
 * @throws MusterError `protocol-violation`.
 */
export type Unseal = (
  domain: string,
  envelope: Uint8Array,
  /** 4,096 by default. */
  maxBytes?: number
) => Promise<{ readonly peerId: PeerId; readonly payload: Uint8Array }>

/**
 * Opens the proof of a gossip message: Ed25519 keys only, signature checked.
 * @throws MusterError `protocol-violation`.
 */
export type OpenProof = (proof: Uint8Array) => Promise<{
  readonly author: PeerId
  /** The name of the gossip topic: {@link gossipTopic} of the wire. */
  readonly topic: string
  readonly data: Uint8Array
}>
