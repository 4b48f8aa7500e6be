import type { PeerId } from '../core/address.ts'
import { equalBytes } from '../core/bytes.ts'
import type { Unseal } from '../node/port.ts'
import { compareRecords, peekRecord, proveRecord, type SignedRecord } from './record.ts'

/** What the nodes asked so far have given for one place, and which of it counts. */
export class Tally {
  readonly #place: Uint8Array
  readonly #unseal: Unseal
  readonly #now: () => number
  /** What was given, each once: whoever gives the same does not cost a signature again. */
  readonly #opening: Array<{ readonly envelope: Uint8Array; readonly record: Promise<SignedRecord | undefined> }> = []
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
    this.#opening.push({ envelope: record.envelope, record: Promise.resolve(record) })
    this.#rank(record)
  }

  /** A node answered. Never rejects: rubbish is that node's. */
  async take(from: PeerId, envelope: Uint8Array | undefined): Promise<void> {
    const record = envelope === undefined ? undefined : await this.#open(envelope)
    if (envelope !== undefined && record === undefined) this.#invalid++
    else this.#given.set(from, record)
  }

  #open(envelope: Uint8Array): Promise<SignedRecord | undefined> {
    let opening = this.#opening.find(each => equalBytes(each.envelope, envelope))
    if (opening === undefined) {
      opening = { envelope, record: this.#prove(envelope) }
      this.#opening.push(opening)
    }
    return opening.record
  }

  async #prove(envelope: Uint8Array): Promise<SignedRecord | undefined> {
    try {
      const claimed = peekRecord(envelope)
      if (!equalBytes(claimed.place, this.#place)) return undefined
      const record = await proveRecord(claimed, this.#unseal, this.#now())
      this.#rank(record)
      return record
    } catch {
      return undefined // it is counted
    }
  }

  /** Nodes that answered without the best: they have an older one, or none. */
  stale(): PeerId[] {
    return [...this.#given].filter(([, given]) => given !== this.#best).map(([peerId]) => peerId)
  }

  #rank(record: SignedRecord): void {
    if (this.#best === undefined || compareRecords(record, this.#best) > 0) this.#best = record
  }
}
