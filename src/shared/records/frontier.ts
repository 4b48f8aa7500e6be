import { ED25519_PEER_ID, type PeerAddress, type PeerId } from '../core/address.ts'
import { compareDistance, type Position, positionOf } from '../node/position.ts'
import { MAX_ASKED_NODES, MAX_CANDIDATES, REPLICAS } from './limits.ts'

/** `new` → `asked` → `answered` or `failed`; `slow` is asked, and waited for no longer. */
type State = 'new' | 'asked' | 'slow' | 'answered' | 'failed'

interface Candidate {
  readonly node: PeerAddress
  readonly position: Position
  /** From our own table: somebody we have met. */
  readonly isMet: boolean
  state: State
}

/**
 * One walk towards a target, as Kademlia does it (Maymounkov and Mazières, 2002, §2.3): the nodes heard of, by distance,
 * and which to ask next. It is through when the closest ones that did not fail have answered. Every second one asked is
 * from our own table, so that made-up nodes, which may stand as close as they like, do not crowd out all others.
 * No clock, no I/O.
 */
export class Frontier {
  readonly #target: Position
  readonly #self: PeerId
  /** The closest first. */
  readonly #candidates: Candidate[] = []
  readonly #byId = new Map<PeerId, Candidate>()
  #asked = 0

  /** `met` are the nodes to begin with. */
  constructor(target: Position, self: PeerId, met: Iterable<PeerAddress>) {
    this.#target = target
    this.#self = self
    this.#insert(met, true)
  }

  /** Nodes that somebody named. A rumour: only those that stand close are ever asked. */
  add(nodes: Iterable<PeerAddress>): void {
    this.#insert(nodes, false)
  }

  #insert(nodes: Iterable<PeerAddress>, isMet: boolean): void {
    // what strangers name has to be a peer id before its position can be computed
    for (const node of nodes) {
      if (node.peerId === this.#self || this.#byId.has(node.peerId) || !ED25519_PEER_ID.test(node.peerId)) continue
      const candidate: Candidate = { node, position: positionOf(node.peerId), isMet, state: 'new' }
      this.#candidates.splice(this.#rank(candidate.position), 0, candidate)
      this.#byId.set(node.peerId, candidate)
      if (this.#candidates.length > MAX_CANDIDATES) this.#forgetOne()
    }
  }

  /** The farthest that was not asked yet; those that were are at most {@link MAX_ASKED_NODES}. */
  #forgetOne(): void {
    const at = this.#candidates.findLastIndex(({ state }) => state === 'new')
    const [gone] = this.#candidates.splice(at, 1)
    if (gone !== undefined) this.#byId.delete(gone.node.peerId)
  }

  /** The next to ask, who counts as asked from now on; undefined when `parallel` are, or nobody is left. */
  next(parallel: number): PeerAddress | undefined {
    if (this.#asked >= MAX_ASKED_NODES) return undefined
    const near = this.#nearest()
    if (near.filter(({ state }) => state === 'asked').length >= parallel) return undefined
    const met = this.#asked % 2 === 0 ? undefined : this.#candidates.find(each => each.isMet && each.state === 'new')
    const candidate = met ?? near.find(({ state }) => state === 'new')
    if (candidate === undefined) return undefined
    candidate.state = 'asked'
    this.#asked++
    return candidate.node
  }

  settled(peerId: PeerId, state: 'slow' | 'answered' | 'failed'): void {
    const candidate = this.#byId.get(peerId)
    if (candidate !== undefined && (candidate.state === 'asked' || candidate.state === 'slow')) candidate.state = state
  }

  /** Nobody is left to ask, and nobody is waited for. */
  get isThrough(): boolean {
    return !this.#nearest().some(({ state }) => state === 'asked' || (state === 'new' && this.#asked < MAX_ASKED_NODES))
  }

  /**
   * The `count` closest that have not failed have answered: not just any `count`, for those who lie may be the first to
   * answer.
   */
  haveAnswered(count: number): boolean {
    const near = this.#candidates.filter(({ state }) => state !== 'failed').slice(0, count)
    return near.length === count && near.every(({ state }) => state === 'answered')
  }

  /** Somebody is slow, but at least twice as many have answered: a few that hang hold up nobody, and no more than that can be overruled by being fast. */
  get canLeaveSlow(): boolean {
    const count = (wanted: State): number => this.#candidates.filter(({ state }) => state === wanted).length
    return count('answered') >= 2 * count('slow')
  }

  /** The closest that have answered, the closest first. */
  closest(): PeerAddress[] {
    return this.#candidates
      .filter(({ state }) => state === 'answered')
      .slice(0, REPLICAS)
      .map(({ node }) => node)
  }

  /** The k closest that have neither failed nor been slow. */
  #nearest(): Candidate[] {
    const near: Candidate[] = []
    for (const candidate of this.#candidates) {
      if (candidate.state === 'failed' || candidate.state === 'slow') continue
      near.push(candidate)
      if (near.length === REPLICAS) break
    }
    return near
  }

  #rank(position: Position): number {
    let low = 0
    let high = this.#candidates.length
    while (low < high) {
      const middle = (low + high) >> 1
      const other = this.#candidates[middle] as Candidate
      if (compareDistance(this.#target, other.position, position) <= 0) low = middle + 1
      else high = middle
    }
    return low
  }
}
