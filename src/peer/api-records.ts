import type { PeerId } from '../shared/core/address.ts'
import type { WaitOptions } from '../shared/node/port.ts'
import type { Value } from './api.ts'

/**
 * What a record is stored under. A string: a name anybody may write. `{ name }`: a name of this peer's own, which only it
 * writes and others read as `{ owner, name }`. `{ content }`: the hash of the value, as a CID, which nobody can change.
 * Names have 1 to 256 bytes of UTF-8.
 */
export type RecordKey = string | { readonly name: string; readonly owner?: PeerId } | { readonly content: string }

/** One version of what is stored under a key, signed by its author. */
export interface RecordVersion {
  /** The key in full: a name of ours comes with its owner. */
  readonly key: RecordKey
  /** Undefined: it was deleted. */
  readonly value: Value | undefined
  readonly author: PeerId
  /** Counts up with each version; the newest version has the highest. */
  readonly sequence: number
  /** By the author's clock, as ISO 8601 text; afterwards the record is gone. */
  readonly issuedAt: string
  readonly expiresAt: string
}

export interface FoundRecord extends RecordVersion {
  readonly value: Value
  /** Nodes that gave exactly this version… */
  readonly holders: number
  /** …of those that answered. */
  readonly answers: number
}

export interface PutResult extends RecordVersion {
  /** Other nodes that have it on disk. */
  readonly stored: number
  /** True when these are at least three; with fewer the record may be lost with them. */
  readonly isQuorum: boolean
}

export interface OwnRecord extends RecordVersion {
  readonly value: Value
  /** Nodes that stored it when it was said last. */
  readonly stored: number
  /** True when it is signed anew before it expires. */
  readonly renew: boolean
}

export interface PutOptions extends WaitOptions {
  /** Milliseconds the record counts: 5 minutes to 30 days, 48 hours by default. */
  readonly validityMs?: number
  /** Sign it anew before it expires, as long as this peer runs; false by default. */
  readonly renew?: boolean
  /** Milliseconds until it is given up; 10,000 by default. */
  readonly timeoutMs?: number
}

export interface GetOptions extends WaitOptions {
  /** Holders that must agree before all of them were asked; 3 by default, 1 to 20. */
  readonly quorum?: number
  /** Milliseconds until it is given up; 10,000 by default. */
  readonly timeoutMs?: number
}

/** Signed key–value records in the DHT: see docs/protocols/records.md for who may write what, and which version wins. */
export interface Records {
  /**
   * Stores a value of up to 8 KiB: JSON or bytes. With `null` as key it is stored under its own hash; the result says which.
   * Resolves once other nodes have it on disk, and says how many.
   * @throws MusterError `unreachable` when nobody stored it; `refused` for a name that another peer owns; `timed-out` |
   *   `too-large` | `value-invalid` | `key-invalid` | `options-invalid` | `limit-reached` | `closed` | `aborted`.
   */
  put(key: RecordKey | null, value: Value, options?: PutOptions): Promise<PutResult>
  /**
   * The newest version; undefined when there is no record, or it was deleted or has expired. A peer that has seen a version
   * never reads an older one, as long as it runs.
   * @throws MusterError `unreachable` when nobody could be asked; `timed-out` when nobody answered; `record-invalid` when
   *   what was found is no record; `key-invalid` | `options-invalid` | `closed` | `aborted`.
   */
  get(key: RecordKey, options?: GetOptions): Promise<FoundRecord | undefined>
  /**
   * Deletes what is under a name: a signed note takes its place, for 30 days, so that nothing older comes back.
   * @throws MusterError as {@link put}; `refused` for a content key: it ends with its time.
   */
  delete(key: RecordKey, options?: WaitOptions & { readonly timeoutMs?: number }): Promise<PutResult>
  /**
   * Yields the version that is there, then each newer one as it comes, deletions too, until the signal aborts. Whoever
   * takes them slowly misses some in between, never the newest.
   */
  watch(key: RecordKey, options?: WaitOptions): AsyncIterable<RecordVersion>
  /** Records this peer wrote that have neither expired nor been deleted. */
  list(): Promise<readonly OwnRecord[]>
}
