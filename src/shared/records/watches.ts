import { hexOf } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import type { Channel } from '../node/port.ts'
import { MAX_WATCHES_PER_STREAM, WATCH_MS } from './limits.ts'

/** Who wants to be told of changes at which place: a lease, so that whoever has forgotten it is forgotten, too. */
export class Watches {
  readonly #clock: Clock
  /** By place, then by channel: until when. */
  readonly #places = new Map<string, Map<Channel, number>>()
  readonly #counts = new Map<Channel, Set<string>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Above the limit nothing is noted: whoever watches asks from time to time, too. */
  add(channel: Channel, place: Uint8Array): void {
    const row = hexOf(place)
    const places = this.#counts.get(channel) ?? new Set()
    if (!places.has(row) && places.size >= MAX_WATCHES_PER_STREAM) {
      for (const old of places) if (this.#isOver(channel, old)) this.#remove(channel, old)
      if (places.size >= MAX_WATCHES_PER_STREAM) return
    }
    places.add(row)
    this.#counts.set(channel, places)
    const channels = this.#places.get(row) ?? new Map<Channel, number>()
    this.#places.set(row, channels)
    channels.set(channel, this.#clock.now() + WATCH_MS)
  }

  of(place: Uint8Array): Channel[] {
    const row = hexOf(place)
    for (const channel of [...(this.#places.get(row)?.keys() ?? [])]) {
      if (this.#isOver(channel, row)) this.#remove(channel, row)
    }
    return [...(this.#places.get(row)?.keys() ?? [])]
  }

  drop(channel: Channel): void {
    for (const row of this.#counts.get(channel) ?? []) this.#remove(channel, row)
  }

  #isOver(channel: Channel, row: string): boolean {
    return (this.#places.get(row)?.get(channel) ?? 0) <= this.#clock.now()
  }

  #remove(channel: Channel, row: string): void {
    const channels = this.#places.get(row)
    channels?.delete(channel)
    if (channels?.size === 0) this.#places.delete(row)
    const places = this.#counts.get(channel)
    places?.delete(row)
    if (places?.size === 0) this.#counts.delete(channel)
  }
}
