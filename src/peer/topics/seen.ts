import type { PeerId } from '../../shared/core/address.ts'

/** Broadcasts of one topic that are remembered one by one, so that each is delivered once. */
export const MAX_SEEN = 8_192
/** Authors whose older broadcasts are remembered as a number: all up to it were seen. */
export const MAX_SEEN_AUTHORS = 4_096

/**
 * Which broadcasts were delivered, whichever way they came: live or from a keeper. What no longer has a place of its own
 * stays seen: everything of its author up to it counts as delivered, so what is very late is lost rather than doubled.
 */
export class Seen {
  readonly #limits: { readonly maxSeen: number; readonly maxAuthors: number }
  /** Oldest first: a set keeps insertion order. */
  readonly #seen = new Map<string, { readonly author: PeerId; readonly sequence: number }>()
  readonly #floors = new Map<PeerId, number>()

  constructor({ maxSeen = MAX_SEEN, maxAuthors = MAX_SEEN_AUTHORS } = {}) {
    this.#limits = { maxSeen, maxAuthors }
  }

  /** True the first time. */
  add(author: PeerId, sequence: number): boolean {
    const key = `${author}/${sequence}`
    if (this.#seen.has(key) || sequence <= (this.#floors.get(author) ?? -1)) return false
    this.#seen.set(key, { author, sequence })
    if (this.#seen.size > this.#limits.maxSeen) this.#forgetOldest()
    return true
  }

  #forgetOldest(): void {
    const [first] = this.#seen
    if (first === undefined) return
    const [key, { author, sequence }] = first
    this.#seen.delete(key)
    const floor = Math.max(sequence, this.#floors.get(author) ?? -1)
    this.#floors.delete(author)
    this.#floors.set(author, floor)
    if (this.#floors.size <= this.#limits.maxAuthors) return
    const [idle] = this.#floors.keys()
    if (idle !== undefined) this.#floors.delete(idle)
  }
}
