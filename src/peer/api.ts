import type { PeerId } from '../shared/core/address.ts'
import type { ErrorCode, MusterError } from '../shared/core/errors.ts'
import type { Subscribable } from '../shared/core/events.ts'
import type { Closable, Undo } from '../shared/core/lifecycle.ts'
import type { Node, WaitOptions } from '../shared/node/port.ts'
import type { Status } from '../shared/status/status.ts'
import type { Records } from './api-records.ts'

export type * from './api-records.ts'

/** Anything `JSON.stringify` keeps. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
export type Value = Json | Uint8Array

/** Somebody in a topic: an identity, not a connection. */
export interface Member {
  readonly peerId: PeerId
  /** What it calls itself; chosen by the member, not unique, at most 64 bytes. */
  readonly name: string | undefined
  readonly addresses: readonly string[]
  /** True once we reached it ourselves; false when a live member vouches for it. */
  readonly verified: boolean
}

/** How a message came: straight from its sender, over the topic's gossip mesh, or kept from earlier by a keeper. */
export type Via = 'direct' | 'broadcast' | 'history'

export interface Message {
  /** The sender, proven by the connection or, for a broadcast, by its signature. */
  readonly from: PeerId
  readonly name: string | undefined
  readonly topic: string
  readonly id: string
  readonly value: Value
  readonly via: Via
  /** When it was said, by the author's clock, as ISO 8601 text. A direct message has none: it was said just now. */
  readonly sentAt: string | undefined
  /** True when the sender waits for an answer. */
  readonly wantsReply: boolean
  /** Aborted when the sender does not wait for an answer any more: it gave up, left, or the connection broke. */
  readonly signal: AbortSignal
  /**
   * Answers the message. Resolves when the sender's program has the answer, or with undefined when it does not wait any
   * more: that is no error, so that a handler may answer and think no further.
   * @throws MusterError `refused` when no answer is waited for, or there was one; `value-invalid` | `too-large` |
   *   `limit-reached` | `options-invalid`.
   */
  respond(value: Value, options?: AskOptions): Promise<Receipt | undefined>
  /**
   * Answers the message with a question of its own; resolves with the answer to that.
   * @throws MusterError as `Group.ask`; `refused` when no answer is waited for, or there was one.
   */
  ask(value: Value, options?: AskOptions): Promise<Message>
}

/** How far a value is on its way. */
export interface Progress {
  readonly bytes: number
  readonly totalBytes: number
}

/** What others answer, as it comes: see `Group.ask` for the codes. */
export type AskResult =
  | { readonly peerId: PeerId; readonly outcome: 'answered'; readonly reply: Message }
  | { readonly peerId: PeerId; readonly outcome: 'refused' | 'timed-out' | 'gone'; readonly error: MusterError }

export interface OpenStreamOptions extends WaitOptions {
  /** Milliseconds until the other side must have taken the stream; 10,000 by default. */
  readonly timeoutMs?: number
}

/**
 * A raw byte stream to one member, both ways, with back-pressure both ways. Iterate it once to read; iteration ends when
 * the other side ended its half, and throws what broke the stream: `closed`, or `gone`. Leaving the loop early tells the
 * other side that nothing more is read.
 */
export interface ByteStream extends AsyncIterable<Uint8Array>, AsyncDisposable {
  /** The other side. */
  readonly peerId: PeerId
  readonly topic: string
  /** What the side that opened it called it. */
  readonly name: string
  /** Aborted once nothing more can be read or written; its reason is a `MusterError`. */
  readonly signal: AbortSignal
  /**
   * Writes bytes, in call order. Resolves when there is room for more; the bytes may be reused then.
   * @throws MusterError `closed` when the stream is over, its half was ended, or the other side reads no more; `gone`;
   *   `limit-reached` when 16 MiB of writes wait that nobody awaited, which aborts the stream.
   */
  write(bytes: Uint8Array): Promise<void>
  /**
   * Ends our half once everything is sent: the other side's iteration ends. Reading goes on.
   * @throws MusterError `closed` | `gone` when something written was not sent.
   */
  end(): Promise<void>
  /**
   * Ends our half, drops what was not read, and waits until the other side has everything; 30 s at most.
   * @throws MusterError `timed-out` | `closed` | `gone` when it has not got everything.
   */
  close(): Promise<void>
  /** Drops everything at once; the other side hears `closed`. */
  abort(reason?: Error): void
}

/** Raw streams of a group. */
export interface Streams {
  /**
   * Opens a byte stream to a member; resolves once its handler has it.
   * @throws MusterError `not-a-member` | `unreachable` | `no-handler` | `limit-reached` | `timed-out` | `value-invalid` | `closed` | `aborted`.
   */
  openStream(member: Member | PeerId, name: string, options?: OpenStreamOptions): Promise<ByteStream>
  /**
   * Takes the streams that members open under `name`. A handler that throws or rejects aborts its stream.
   * @throws MusterError `options-invalid` when the name has a handler, or is not 1 to 64 bytes of text.
   */
  onStream(name: string, handler: (stream: ByteStream) => void | Promise<void>): Undo
}

export interface BroadcastOptions extends WaitOptions {
  /** Milliseconds to wait for members to acknowledge; 0, the default, asks nobody to. */
  readonly ackMs?: number
}

/** What is known of a broadcast when it resolves. */
export interface BroadcastResult {
  readonly id: string
  /** This author's own count, over restarts. */
  readonly sequence: number
  /** Neighbours in the gossip mesh that took it; 0 when nobody is there. */
  readonly peers: number
  /** Members whose application took it within `ackMs`, in the order of their answers. */
  readonly acknowledged: readonly PeerId[]
}

/** Messages to everybody in a group. */
export interface Broadcasts {
  /**
   * Says something to all members, over many hops. Nobody there is not an error. JSON values and bytes, up to 64 KiB.
   * @throws MusterError `too-large` | `value-invalid` | `limit-reached` (faster than others would pass on) | `closed` | `aborted`.
   */
  broadcast(value: Value, options?: BroadcastOptions): Promise<BroadcastResult>
}

export interface JoinOptions {
  /** Messages from before to be told of, the newest; 0, the default, to 1,000. Keepers are asked as they are met. */
  readonly history?: number
}

export interface HistoryOptions extends WaitOptions {
  /** Messages wanted, the newest; 1 to 1,000, 100 by default. */
  readonly limit?: number
}

/** What was said before. */
export interface Histories {
  /**
   * Asks the members and bootstraps connected now, those that keep the topic (`--keep`), for what was broadcast: the
   * newest, oldest first, each author's in the order it said them. Signatures are verified. Empty when nobody keeps it;
   * after 10 s it is what is known by then. Direct messages are never kept.
   * @throws MusterError `options-invalid` | `closed` | `aborted`.
   */
  history(options?: HistoryOptions): Promise<readonly Message[]>
}

/** The other side's application took the message. */
export interface Receipt {
  readonly to: PeerId
  readonly topic: string
  readonly id: string
  /** From handing the message to the stream until the receipt came, in milliseconds. */
  readonly rttMs: number
}

export type LeaveReason = 'goodbye' | 'lost'

export interface GroupEvents extends Record<string, unknown> {
  /** A member came, or one listed as unverified was reached. */
  member: Member
  /** A member said goodbye, or could not be reached any more. */
  left: { readonly peerId: PeerId; readonly name: string | undefined; readonly reason: LeaveReason }
  message: Message
  /** A value of more than 64 KiB is on its way from a member. */
  progress: { readonly from: PeerId; readonly id: string } & Progress
}

export interface AskOptions extends WaitOptions {
  /** Milliseconds until it is given up, for a value over 64 KiB without progress; 10,000 by default, and `waitMs` more. */
  readonly timeoutMs?: number
  /** Called as parts of a value over 64 KiB leave. */
  readonly onProgress?: (progress: Progress) => void
}

export interface SendOptions extends AskOptions {
  /**
   * Milliseconds to wait for a member that is away, up to 60,000; 0 by default. When the connection breaks meanwhile, a
   * value of up to 64 KiB is sent again, and delivered once.
   */
  readonly waitMs?: number
}

/** One topic this peer is in, and who else is. */
export interface Group extends Closable, Subscribable<GroupEvents>, Streams, Broadcasts, Histories {
  readonly topic: string
  readonly topicId: string
  /** Everybody known right now, this peer excluded. */
  members(): readonly Member[]
  /**
   * Sends one value to one member. Resolves once the member's application took it: its listeners returned, and what they
   * returned has resolved. Order is kept per receiver for values of up to 64 KiB; larger ones go in parts beside them.
   * JSON values and bytes, up to `maxMessageBytes` after encoding; bytes over 64 KiB are not copied, so leave them as they
   * are until this settles.
   * @throws MusterError `not-a-member` | `unreachable` | `no-handler` | `handler-failed` | `refused` | `timed-out` |
   *   `too-large` | `value-invalid` | `limit-reached` | `gone` | `closed` | `aborted` | `options-invalid`.
   */
  send(member: Member | PeerId, value: Value, options?: SendOptions): Promise<Receipt>
  /**
   * Sends one value and waits for the answer that the member's program gives with `message.respond` or `message.ask`.
   * A request is sent once: when the connection breaks, it fails.
   * @throws MusterError as {@link send}.
   */
  ask(member: Member | PeerId, value: Value, options?: AskOptions): Promise<Message>
  /**
   * Asks several members, or everybody known right now; yields what came of each as it comes. It throws only when the
   * caller cancels (`aborted`) or the value cannot be sent at all (`value-invalid`, `too-large`).
   */
  askMany(members: 'all' | ReadonlyArray<Member | PeerId>, value: Value, options?: AskOptions): AsyncIterable<AskResult>
  /** Says goodbye to everybody and forgets the topic. The same as `close()`. */
  leave(): Promise<void>
}

export interface PeerEvents extends Record<string, unknown> {
  /** The DHT answered for the first time. */
  ready: undefined
  /** Something the user should know that no call can report, e.g. a bootstrap with a changed identity. */
  problem: MusterError & { readonly code: ErrorCode }
}

/** One participant. */
export interface Peer extends Closable, Subscribable<PeerEvents> {
  readonly peerId: PeerId
  readonly name: string | undefined
  readonly addresses: readonly string[]
  readonly groups: readonly Group[]
  /** True once the DHT answered. */
  readonly isReady: boolean
  /**
   * Joins a topic. Resolves at once, before anybody is found: listen for `member`. With `history`, the newest messages of
   * before come as `message` events with `via: 'history'`, each once, oldest first; live ones may come between them.
   * @throws MusterError `topic-invalid` | `already-joined` | `options-invalid` | `closed`.
   */
  join(topic: string, options?: JoinOptions): Promise<Group>
  /**
   * Connects to a node by address, as one more way into the network.
   * @throws MusterError `address-invalid` | `unreachable` | `timed-out` | `bootstrap-identity-changed`.
   */
  connect(address: string, options?: WaitOptions): Promise<PeerId>
  /**
   * Gives up a way into the network: the address is not dialled any more, and its connection is closed. Members stay.
   * It is a node of the DHT all the same, and may connect to this one.
   * @throws MusterError `address-invalid`; `unreachable` when it is none of those that are kept.
   */
  disconnect(address: string): Promise<void>
  /** Values in the DHT that outlive this peer. */
  readonly records: Records
  status(): Promise<Status>
  /** The port below, for what Muster does not wrap. */
  readonly node: Node
}
