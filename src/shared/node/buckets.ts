/** Token buckets by key, for at most `maxKeys` keys: the key idle longest is forgotten first, which can only help it. */
export class TokenBuckets {
  readonly #perSecond: number
  readonly #burst: number
  readonly #maxKeys: number
  readonly #buckets = new Map<string, { tokens: number; at: number }>()

  constructor(perSecond: number, burst: number, maxKeys: number) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#maxKeys = maxKeys
  }

  /** Takes `cost` tokens of `key` at time `now` (ms); false when there are not enough. */
  take(key: string, now: number, cost = 1): boolean {
    const bucket = this.#buckets.get(key) ?? { tokens: this.#burst, at: now }
    bucket.tokens = Math.min(this.#burst, bucket.tokens + (Math.max(0, now - bucket.at) / 1000) * this.#perSecond)
    bucket.at = now
    this.#buckets.delete(key) // a Map keeps insertion order: the front is the longest idle
    this.#buckets.set(key, bucket)
    if (this.#buckets.size > this.#maxKeys) this.#buckets.delete(this.#buckets.keys().next().value as string)
    if (bucket.tokens < cost) return false
    bucket.tokens -= cost
    return true
  }
}
