import type { PeerId } from '../core/address.ts'
import { equalBytes } from '../core/bytes.ts'
import type { Unseal } from '../node/port.ts'
import { MIN_ANSWERS } from './limits.ts'
import { compareRecords, InvalidRecord, openRecord, type SignedRecord } from './record.ts'

/** What the nodes asked so far have given for one place, and which of it counts. */
export class Tally {
  readonly #place: Uint8Array
  readonly #unseal: Unseal
  readonly #now: () => number
  readonly #verified: SignedRecord[] = []
  /** What each node gave; undefined: nothing. */
  readonly #given = new Map<PeerId, SignedRecord | undefined>()
  #invalid = 0
  #best: SignedRecord | undefined

  constructor(place: Uint8Array, unseal: Unseal, now: () => number) {
    this.#place = place
    this.#unseal = unseal
    this.#now = now
  }

  /** The newest whose signature holds, whoever gave it; it may be a tombstone, or past its time. */
  get best(): SignedRecord | undefined {
    return this.#best
  }

  /** Nodes that answered, whatever they gave. */
  get answers(): number {
    return this.#given.size + this.#invalid
  }

  /** Nodes that gave exactly the best. */
  get holders(): number {
    return [...this.#given.values()].filter(given => given !== undefined && given === this.#best).length
  }

  /** Nodes that gave something that is no record, or not of this place. */
  get invalid(): number {
    return this.#invalid
  }

  /** A record that is known already, from ourselves: no holder's answer. */
  know(record: SignedRecord): void {
    this.#verified.push(record)
    this.#rank(record)
  }

  /** A node answered. Never rejects: rubbish is that node's. */
  async take(from: PeerId, envelope: Uint8Array | undefined): Promise<void> {
    if (envelope === undefined) {
      this.#given.set(from, undefined)
      return
    }
    const known = this.#verified.find(record => equalBytes(record.envelope, envelope))
    if (known !== undefined) {
      this.#given.set(from, known)
      return
    }
    try {
      const record = await openRecord(envelope, this.#unseal, this.#now())
      if (!equalBytes(record.place, this.#place)) throw new InvalidRecord('malformed', 'a record of another place')
      const same = this.#verified.find(other => equalBytes(other.digest, record.digest)) // verified meanwhile
      if (same === undefined) this.#verified.push(record)
      this.#given.set(from, same ?? record)
      this.#rank(same ?? record)
    } catch {
      this.#invalid++
    }
  }

  /** True once `quorum` nodes gave the best, and enough were asked for it to be the newest. */
  hasQuorum(quorum: number): boolean {
    return this.holders >= quorum && this.answers >= Math.max(MIN_ANSWERS, quorum)
  }

  /** Nodes that answered without the best: they have an older one, or none. */
  stale(): PeerId[] {
    return [...this.#given].filter(([, given]) => given !== this.#best).map(([peerId]) => peerId)
  }

  #rank(record: SignedRecord): void {
    if (this.#best === undefined || compareRecords(record, this.#best) > 0) this.#best = record
  }
}
