/** A source of numbers in [0, 1). Logic that draws takes one, so that a seed replays it. */
export type Random = () => number

export const systemRandom: Random = Math.random

/** Mulberry32: small, fast, good enough for simulations; never for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** `count` different elements of `items`, in random order; all of them when there are fewer. */
export function sample<T>(items: readonly T[], count: number, random: Random): T[] {
  const pool = [...items]
  const wanted = Math.min(count, pool.length)
  for (let i = 0; i < wanted; i++) {
    const j = i + Math.floor(random() * (pool.length - i))
    ;[pool[i], pool[j]] = [pool[j] as T, pool[i] as T]
  }
  return pool.slice(0, wanted)
}
