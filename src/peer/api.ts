import type { PeerId } from '../shared/core/address.ts'
import type { ErrorCode, MusterError } from '../shared/core/errors.ts'
import type { Subscribable } from '../shared/core/events.ts'
import type { Closable } from '../shared/core/lifecycle.ts'
import type { Node, WaitOptions } from '../shared/node/port.ts'
import type { Status } from '../shared/status/status.ts'

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

export interface Message {
  /** The sender, proven by the connection. */
  readonly from: PeerId
  readonly name: string | undefined
  readonly topic: string
  readonly id: string
  readonly value: Value
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
}

export interface SendOptions extends WaitOptions {
  /** Milliseconds until the send is given up; 10,000 by default. */
  readonly timeoutMs?: number
}

/** One topic this peer is in, and who else is. */
export interface Group extends Closable, Subscribable<GroupEvents> {
  readonly topic: string
  readonly topicId: string
  /** Everybody known right now, this peer excluded. */
  members(): readonly Member[]
  /**
   * Sends one value to one member. Resolves once the member's application took it. Order is kept per receiver.
   * JSON values and bytes, up to 1 MiB after encoding.
   * @throws MusterError `not-a-member` | `unreachable` | `refused` | `timed-out` | `too-large` | `value-invalid` | `closed` | `aborted`.
   */
  send(member: Member | PeerId, value: Value, options?: SendOptions): Promise<Receipt>
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
   * Joins a topic. Resolves at once, before anybody is found: listen for `member`.
   * @throws MusterError `topic-invalid` | `already-joined` | `closed`.
   */
  join(topic: string): Promise<Group>
  /**
   * Connects to a node by address, as one more way into the network.
   * @throws MusterError `address-invalid` | `unreachable` | `timed-out` | `bootstrap-identity-changed`.
   */
  connect(address: string, options?: WaitOptions): Promise<PeerId>
  status(): Promise<Status>
  /** The port below, for what Muster does not wrap. */
  readonly node: Node
}
