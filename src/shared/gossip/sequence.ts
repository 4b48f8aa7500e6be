import { type Datastore, Key } from 'interface-datastore'
import type { Clock } from '../core/clock.ts'
import { RESERVED_SEQUENCES } from './limits.ts'

const RESERVED = new Key('/muster/broadcast/sequence')

/**
 * The numbers of our own broadcasts: each larger than all before, over restarts and crashes. They start at the clock, in
 * milliseconds, so that an identity that was copied without its database goes on above what others remember of it; the
 * end of the block in use is on disk before the first of it is given out, for a clock that was set back.
 */
export class Sequence {
  readonly #datastore: Datastore
  readonly #clock: Clock
  #last = 0
  #reserved: number | undefined
  #turn: Promise<unknown> = Promise.resolve()

  constructor(datastore: Datastore, clock: Clock) {
    this.#datastore = datastore
    this.#clock = clock
  }

  /** The next number; rejects when the disk does not take the reservation. */
  next(): Promise<number> {
    const turn = this.#turn.then(() => this.#next())
    this.#turn = turn.catch(() => undefined) // each caller hears of its own failure
    return turn
  }

  async #next(): Promise<number> {
    if (this.#reserved === undefined) {
      this.#last = await this.#load()
      this.#reserved = this.#last
    }
    const sequence = Math.max(this.#last + 1, this.#clock.now())
    if (sequence > this.#reserved) {
      const reserved = sequence + RESERVED_SEQUENCES
      await this.#datastore.put(RESERVED, new TextEncoder().encode(String(reserved)))
      this.#reserved = reserved
    }
    this.#last = sequence
    return sequence
  }

  async #load(): Promise<number> {
    if (!(await this.#datastore.has(RESERVED))) return 0
    const reserved = Number(new TextDecoder().decode(await this.#datastore.get(RESERVED)))
    return Number.isSafeInteger(reserved) ? reserved : 0
  }
}
