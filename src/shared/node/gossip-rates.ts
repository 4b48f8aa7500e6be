import { TokenBuckets } from './buckets.ts'
import * as limits from './gossip-limits.ts'

/** How much each neighbour in the gossip mesh may bring, and how much of what we do not want it is forgiven. */
export class GossipRates {
  readonly #now: () => number
  readonly #messages = new TokenBuckets(
    limits.GOSSIP_MESSAGES_PER_SECOND,
    limits.GOSSIP_MESSAGES_BURST,
    limits.MAX_RATED_NEIGHBOURS
  )
  readonly #patience = new TokenBuckets(
    limits.IGNORED_MESSAGES_PER_SECOND,
    limits.IGNORED_MESSAGES_BURST,
    limits.MAX_RATED_NEIGHBOURS
  )
  readonly #passedOn = new TokenBuckets(
    limits.FORGIVEN_PER_AUTHOR_PER_SECOND,
    limits.FORGIVEN_PER_AUTHOR_BURST,
    limits.MAX_RATED_NEIGHBOURS
  )

  constructor(now: () => number) {
    this.#now = now
  }

  /** Whether a message of so many bytes is worth a signature. */
  admits(from: string, bytes: number): boolean {
    return this.#messages.take(from, this.#now(), limits.gossipCost(bytes))
  }

  /** Whether a neighbour is forgiven a message that we dropped unseen. */
  forgivesUnwanted(from: string): boolean {
    return this.#patience.take(from, this.#now())
  }

  /**
   * Whether a neighbour is forgiven a message that we ignore. An honest one may have accepted it: an author that says too
   * much, and something else to each, sets neighbours against each other otherwise. But none accepts more of one author
   * than its rate.
   */
  forgivesIgnored(from: string, author: string): boolean {
    return (from !== author && this.#passedOn.take(`${from} ${author}`, this.#now())) || this.forgivesUnwanted(from)
  }
}
