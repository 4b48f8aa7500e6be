import type { PeerId } from '../../shared/core/address.ts'

/** Bytes that are spoken for, per peer and altogether. A claim is judged before anything is held for it. */
export class Budget {
  readonly #maxPerPeer: number
  readonly #maxAltogether: number
  readonly #used = new Map<PeerId, number>()
  #altogether = 0

  constructor(maxPerPeer: number, maxAltogether = Number.POSITIVE_INFINITY) {
    this.#maxPerPeer = maxPerPeer
    this.#maxAltogether = maxAltogether
  }

  get used(): number {
    return this.#altogether
  }

  /** False when there is no room; nothing is taken then. */
  take(peerId: PeerId, bytes: number): boolean {
    const used = this.#used.get(peerId) ?? 0
    if (used + bytes > this.#maxPerPeer || this.#altogether + bytes > this.#maxAltogether) return false
    this.#used.set(peerId, used + bytes)
    this.#altogether += bytes
    return true
  }

  give(peerId: PeerId, bytes: number): void {
    const left = (this.#used.get(peerId) ?? 0) - bytes
    if (left > 0) this.#used.set(peerId, left)
    else this.#used.delete(peerId)
    this.#altogether -= bytes
  }
}
