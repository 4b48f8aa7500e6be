import type { PeerId } from '../core/address.ts'
import type { TopicId } from '../core/topic.ts'
import { MAX_KEPT_BYTES, MAX_KEPT_BYTES_IN_ALL, MAX_KEPT_MESSAGES } from './limits.ts'
import { inOrder, type Placed } from './order.ts'

/** A message that is kept, without its bytes. */
export interface Kept extends Placed {
  readonly topicId: TopicId
  readonly bytes: number
}

export const BOOK_DEFAULTS = {
  maxMessages: MAX_KEPT_MESSAGES,
  maxBytes: MAX_KEPT_BYTES,
  maxBytesInAll: MAX_KEPT_BYTES_IN_ALL
} as const
export type BookLimits = { readonly [K in keyof typeof BOOK_DEFAULTS]: number }

/** What one author has in one topic, oldest first. */
interface Share {
  readonly messages: Kept[]
  bytes: number
}
interface Shelf {
  readonly shares: Map<PeerId, Share>
  messages: number
  bytes: number
}

/**
 * What is kept, and what has to go when there is no room: of the author that holds the most, its oldest. So an author
 * that floods pushes out itself; others lose messages only once nobody holds more than they do. Pure: no clock, no disk.
 */
export class Book {
  readonly #limits: BookLimits
  readonly #shelves = new Map<TopicId, Shelf>()
  #messages = 0
  #bytes = 0

  constructor(limits: Partial<BookLimits> = {}) {
    this.#limits = { ...BOOK_DEFAULTS, ...limits }
  }

  get messages(): number {
    return this.#messages
  }

  get bytes(): number {
    return this.#bytes
  }

  has({ topicId, author, sequence }: Pick<Kept, 'topicId' | 'author' | 'sequence'>): boolean {
    const messages = this.#shelves.get(topicId)?.shares.get(author)?.messages
    return messages !== undefined && messages[placeOf(messages, sequence)]?.sequence === sequence
  }

  /** The newest of a topic, oldest first. */
  newest(topicId: TopicId, limit: number): Kept[] {
    const shares = [...(this.#shelves.get(topicId)?.shares.values() ?? [])]
    return inOrder(shares.flatMap(({ messages }) => messages)).slice(-limit)
  }

  /**
   * Enters a message; what has to go is taken out and returned. That may be the message itself. Nothing when it is there
   * already.
   */
  add(message: Kept): readonly Kept[] {
    if (this.has(message)) return []
    const shelf: Shelf = this.#shelves.get(message.topicId) ?? { shares: new Map(), messages: 0, bytes: 0 }
    this.#shelves.set(message.topicId, shelf)
    const share: Share = shelf.shares.get(message.author) ?? { messages: [], bytes: 0 }
    shelf.shares.set(message.author, share)
    share.messages.splice(placeOf(share.messages, message.sequence), 0, message)
    this.#count(shelf, share, 1, message.bytes)
    const { maxMessages, maxBytes, maxBytesInAll } = this.#limits
    const gone: Kept[] = []
    while (shelf.messages > maxMessages) gone.push(this.#dropOldest(shelf, each => each.messages.length))
    while (shelf.bytes > maxBytes) gone.push(this.#dropOldest(shelf, each => each.bytes))
    while (this.#bytes > maxBytesInAll) gone.push(this.#dropOldest(this.#largest(), each => each.bytes))
    return gone
  }

  /** Takes out what was sent before `ms`. */
  dropBefore(ms: number): readonly Kept[] {
    const all = [...this.#shelves.values()].flatMap(({ shares }) => [...shares.values()])
    const past = all.flatMap(({ messages }) => messages.filter(({ sentMs }) => sentMs < ms))
    for (const message of past) this.#remove(message)
    return past
  }

  #largest(): Shelf {
    return [...this.#shelves.values()].reduce((most, shelf) => (shelf.bytes > most.bytes ? shelf : most))
  }

  #dropOldest(shelf: Shelf, sizeOf: (share: Share) => number): Kept {
    let victim: { readonly size: number; readonly oldest: Kept } | undefined
    for (const share of shelf.shares.values()) {
      const [oldest] = share.messages
      const size = sizeOf(share)
      if (oldest === undefined || (victim !== undefined && size < victim.size)) continue
      if (victim === undefined || size > victim.size || oldest.sentMs < victim.oldest.sentMs) victim = { size, oldest }
    }
    if (victim === undefined) throw new Error('an empty topic has no oldest message')
    this.#remove(victim.oldest)
    return victim.oldest
  }

  #remove(message: Kept): void {
    const shelf = this.#shelves.get(message.topicId)
    const share = shelf?.shares.get(message.author)
    if (shelf === undefined || share === undefined) return
    share.messages.splice(placeOf(share.messages, message.sequence), 1)
    this.#count(shelf, share, -1, -message.bytes)
    if (share.messages.length === 0) shelf.shares.delete(message.author)
    if (shelf.messages === 0) this.#shelves.delete(message.topicId)
  }

  #count(shelf: Shelf, share: Share, messages: number, bytes: number): void {
    share.bytes += bytes
    shelf.messages += messages
    shelf.bytes += bytes
    this.#messages += messages
    this.#bytes += bytes
  }
}

/** Where a message of this sequence is, or belongs. */
function placeOf(messages: readonly Kept[], sequence: number): number {
  if ((messages.at(-1)?.sequence ?? -1) < sequence) return messages.length // nearly always
  let low = 0
  let high = messages.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((messages[middle]?.sequence ?? 0) < sequence) low = middle + 1
    else high = middle
  }
  return low
}
