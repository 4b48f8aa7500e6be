import type { PeerId } from '../../shared/core/address.ts'

/**
 * Bytes of large values, counted twice: what each peer has claimed, judged before anything is held for it, and what is
 * really here of everybody. A claim that nothing follows takes nothing from others.
 */
export class Budget {
  readonly #maxPerPeer: number
  readonly #maxHeld: number
  readonly #claimed = new Map<PeerId, number>()
  #held = 0

  constructor(maxPerPeer: number, maxHeld = Number.POSITIVE_INFINITY) {
    this.#maxPerPeer = maxPerPeer
    this.#maxHeld = maxHeld
  }

  /** Claimed and held, together: zero when nothing is under way. */
  get used(): number {
    return [...this.#claimed.values()].reduce((sum, bytes) => sum + bytes, this.#held)
  }

  /** False when the peer has no room for a claim; nothing is taken then. */
  take(peerId: PeerId, bytes: number): boolean {
    const claimed = this.#claimed.get(peerId) ?? 0
    if (claimed + bytes > this.#maxPerPeer) return false
    this.#claimed.set(peerId, claimed + bytes)
    return true
  }

  give(peerId: PeerId, bytes: number): void {
    const left = (this.#claimed.get(peerId) ?? 0) - bytes
    if (left > 0) this.#claimed.set(peerId, left)
    else this.#claimed.delete(peerId)
  }

  /** False when there is no room for bytes that came. */
  hold(bytes: number): boolean {
    if (this.#held + bytes > this.#maxHeld) return false
    this.#held += bytes
    return true
  }

  letGo(bytes: number): void {
    this.#held -= bytes
  }
}
