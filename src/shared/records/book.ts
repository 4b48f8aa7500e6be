import type { PeerId } from '../core/address.ts'
import type { RecordKey } from './key.ts'
import * as limits from './limits.ts'
import type { Version } from './record.ts'

/** What is known of a held record without reading it. */
export interface Held extends Version {
  readonly place: Uint8Array
  readonly author: PeerId
  readonly bytes: number
  readonly receivedMs: number
  /** Until when the row stays. Longer than the record counts when it replaced one that would count longer. */
  readonly heldUntilMs: number
  /** When somebody said it last… */
  readonly heardMs: number
  /** …and when this node did. */
  readonly saidMs: number
}

export interface BookLimits {
  readonly maxRecords: number
  readonly maxBytes: number
  readonly maxOfKind: number
  readonly maxPerAuthor: number
  readonly maxBytesPerAuthor: number
}

const DEFAULTS: BookLimits = {
  maxRecords: limits.MAX_HELD_RECORDS,
  maxBytes: limits.MAX_HELD_BYTES,
  maxOfKind: limits.MAX_HELD_OF_KIND,
  maxPerAuthor: limits.MAX_RECORDS_PER_AUTHOR,
  maxBytesPerAuthor: limits.MAX_BYTES_PER_AUTHOR
}

interface Share {
  count: number
  bytes: number
}

/** Which records are held, and whether there is room for one more: decisions and sums, no disk. */
export class Book {
  readonly #limits: BookLimits
  readonly #held = new Map<string, Held>()
  readonly #authors = new Map<PeerId, Share>()
  readonly #kinds = new Map<RecordKey['kind'], number>()
  #bytes = 0

  constructor(given: Partial<BookLimits> = {}) {
    this.#limits = { ...DEFAULTS, ...given }
  }

  get size(): number {
    return this.#held.size
  }

  get bytes(): number {
    return this.#bytes
  }

  get(row: string): Held | undefined {
    return this.#held.get(row)
  }

  rows(): IterableIterator<[string, Held]> {
    return this.#held.entries()
  }

  /** True when a record may be taken: a newer version of one that is held always, up to its author's share. */
  hasRoomFor(row: string, { author, kind, bytes }: Pick<Held, 'author' | 'kind' | 'bytes'>): boolean {
    const { maxRecords, maxBytes, maxOfKind, maxPerAuthor, maxBytesPerAuthor } = this.#limits
    const old = this.#held.get(row)
    const share = this.#authors.get(author) ?? { count: 0, bytes: 0 }
    const isTheirs = old?.author === author
    if (share.count + (isTheirs ? 0 : 1) > maxPerAuthor) return false
    if (share.bytes + bytes - (isTheirs ? old.bytes : 0) > maxBytesPerAuthor) return false
    if (old !== undefined) return this.#bytes + bytes - old.bytes <= maxBytes
    const mark = limits.HIGH_WATER_PERCENT / 100
    return (
      this.#held.size < maxRecords * mark &&
      this.#bytes + bytes <= maxBytes * mark &&
      (this.#kinds.get(kind) ?? 0) < maxOfKind
    )
  }

  set(row: string, held: Held): void {
    this.delete(row)
    this.#held.set(row, held)
    this.#count(held, 1)
  }

  delete(row: string): void {
    const old = this.#held.get(row)
    if (old === undefined) return
    this.#held.delete(row)
    this.#count(old, -1)
  }

  #count({ author, kind, bytes }: Held, by: 1 | -1): void {
    this.#bytes += by * bytes
    this.#kinds.set(kind, (this.#kinds.get(kind) ?? 0) + by)
    const share = this.#authors.get(author) ?? { count: 0, bytes: 0 }
    share.count += by
    share.bytes += by * bytes
    if (share.count === 0) this.#authors.delete(author)
    else this.#authors.set(author, share)
  }
}
