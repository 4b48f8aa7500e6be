import type { PeerId } from '../core/address.ts'
import { hexOf } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { TokenBuckets } from '../node/buckets.ts'
import type { Unseal } from '../node/port.ts'
import * as limits from './limits.ts'
import { compareRecords, peekRecord, proveRecord, type SignedRecord } from './record.ts'

/** Milliseconds between two reads of a watch; pushes come at once. */
const POLL_MS = limits.WATCH_MS / 2

interface WatchingNeeds {
  readonly clock: Clock
  readonly unseal: Unseal
}

/** Our own watches: whoever holds a record tells of changes, and it is read from time to time in case nobody does. */
export class Watching {
  readonly #clock: Clock
  readonly #unseal: Unseal
  readonly #pushes = new TokenBuckets(limits.PUSHES_PER_SECOND, limits.PUSHES_BURST, limits.MAX_RATED_PEERS)
  readonly #listeners = new Map<string, Set<(record: SignedRecord) => void>>()

  constructor({ clock, unseal }: WatchingNeeds) {
    this.#clock = clock
    this.#unseal = unseal
  }

  /** A version is known here. */
  tell(record: SignedRecord): void {
    for (const hear of this.#listeners.get(hexOf(record.place)) ?? []) hear(record)
  }

  /** A node tells of a change; resolves with the record when it is one that somebody waits for. */
  async hear(from: PeerId, envelope: Uint8Array): Promise<SignedRecord | undefined> {
    try {
      if (!this.#pushes.take(from, this.#clock.now())) return undefined // it is read from time to time as well
      const claimed = peekRecord(envelope)
      if (!this.#listeners.has(hexOf(claimed.place))) return undefined
      return await proveRecord(claimed, this.#unseal, this.#clock.now())
    } catch {
      return undefined // rubbish from one holder: the others tell, too
    }
  }

  /** Each newer version until the signal aborts; the newest replaces those not taken yet. `look` reads what is there now. */
  async *watch(
    place: Uint8Array,
    look: () => Promise<SignedRecord | undefined>,
    signal: AbortSignal
  ): AsyncGenerator<SignedRecord> {
    let latest: SignedRecord | undefined
    let told: SignedRecord | undefined
    let wake = Promise.withResolvers<void>()
    const hear = (record: SignedRecord): void => {
      if (latest !== undefined && compareRecords(record, latest) <= 0) return
      latest = record
      wake.resolve()
    }
    const lookAgain = (): void => {
      look().then(
        found => found !== undefined && hear(found),
        () => undefined // nobody there, or not yet: the next look may find it
      )
    }
    const onAbort = (): void => wake.resolve()
    this.#add(place, hear)
    signal.addEventListener('abort', onAbort)
    const stopLooking = this.#clock.every(POLL_MS, lookAgain)
    try {
      lookAgain()
      while (!signal.aborted) {
        if (latest !== undefined && latest !== told) {
          told = latest
          yield latest
        } else {
          await wake.promise
          wake = Promise.withResolvers<void>()
        }
      }
    } finally {
      stopLooking()
      signal.removeEventListener('abort', onAbort)
      this.#remove(place, hear)
    }
  }

  #add(place: Uint8Array, hear: (record: SignedRecord) => void): void {
    const row = hexOf(place)
    const listeners = this.#listeners.get(row) ?? new Set()
    this.#listeners.set(row, listeners)
    listeners.add(hear)
  }

  #remove(place: Uint8Array, hear: (record: SignedRecord) => void): void {
    const row = hexOf(place)
    const listeners = this.#listeners.get(row)
    listeners?.delete(hear)
    if (listeners?.size === 0) this.#listeners.delete(row)
  }
}
