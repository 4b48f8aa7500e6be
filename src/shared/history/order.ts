import type { PeerId } from '../core/address.ts'

/** What decides the place of a message. */
export interface Placed {
  readonly author: PeerId
  readonly sequence: number
  /** When it was sent, by the author's clock, and never later than it was received. */
  readonly sentMs: number
}

/**
 * Oldest first: each author's messages in order of sequence, and all of them by time as far as that allows. A message
 * counts as sent no later than what its author said after it, so a clock that jumps ahead pulls nothing forward. The same
 * messages come out in the same order, whatever order they came in.
 */
export function inOrder<T extends Placed>(messages: Iterable<T>): T[] {
  const byAuthor = Map.groupBy(messages, ({ author }) => author)
  const timed: Array<{ readonly message: T; readonly atMs: number }> = []
  for (const own of byAuthor.values()) {
    let atMs = Number.POSITIVE_INFINITY
    for (const message of own.sort((a, b) => b.sequence - a.sequence)) {
      atMs = Math.min(atMs, message.sentMs)
      timed.push({ message, atMs })
    }
  }
  return timed.sort((a, b) => a.atMs - b.atMs || compare(a.message, b.message)).map(({ message }) => message)
}

function compare(a: Placed, b: Placed): number {
  if (a.author !== b.author) return a.author < b.author ? -1 : 1
  return a.sequence - b.sequence
}
