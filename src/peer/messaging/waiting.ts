import { MusterError } from '../../shared/core/errors.ts'
import type { Outgoing } from './outgoing.ts'

/** What was handed in and is on no stream yet, in order, and bounded. */
export class Waiting {
  readonly #maxMessages: number
  readonly #maxBytes: number
  #queue: Outgoing[] = []
  #bytes = 0

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages
    this.#maxBytes = maxBytes
  }

  get first(): Outgoing | undefined {
    return this.#queue[0]
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0
  }

  /** When the first of those that wait for an absent member gives up. */
  get waitsUntil(): number {
    return this.#queue.reduce((first, { waitUntil }) => Math.min(first, waitUntil), Number.POSITIVE_INFINITY)
  }

  /** @throws MusterError `limit-reached`. */
  add(outgoing: Outgoing): void {
    const { length } = this.#queue
    if (length >= this.#maxMessages || this.#bytes + outgoing.claimedBytes > this.#maxBytes) {
      throw new MusterError(
        'limit-reached',
        `${length} messages of ${this.#bytes} bytes wait for this receiver already; wait for their receipts`
      )
    }
    this.#queue.push(outgoing)
    this.#bytes += outgoing.claimedBytes
  }

  /** Puts back what has been here before, in front: it has its place, whatever waits by now. */
  addInFront(outgoing: Outgoing): void {
    this.#queue.unshift(outgoing)
    this.#bytes += outgoing.claimedBytes
  }

  shift(): Outgoing | undefined {
    const outgoing = this.#queue.shift()
    if (outgoing !== undefined) this.#bytes -= outgoing.claimedBytes
    return outgoing
  }

  /** False when it is not here. */
  remove(outgoing: Outgoing): boolean {
    const at = this.#queue.indexOf(outgoing)
    if (at < 0) return false
    this.#queue.splice(at, 1)
    this.#bytes -= outgoing.claimedBytes
    return true
  }

  /** Takes out all that `isTaken` says; the rest stays in order. */
  takeOut(isTaken: (outgoing: Outgoing) => boolean): Outgoing[] {
    const out: Outgoing[] = []
    const stays: Outgoing[] = []
    for (const outgoing of this.#queue) (isTaken(outgoing) ? out : stays).push(outgoing)
    this.#queue = stays
    for (const { claimedBytes } of out) this.#bytes -= claimedBytes
    return out
  }
}
