import { sha256 } from '@noble/hashes/sha2.js'
import { base58btc } from 'multiformats/bases/base58'
import type { PeerId } from '../core/address.ts'

/** A place in Kademlia's key space: 32 bytes. Close is what has a small XOR, read as a big-endian number. */
export type Position = Uint8Array

/** Positions remembered: computing one takes 10 µs. */
const MAX_REMEMBERED = 16_384
const positions = new Map<PeerId, Position>()

/** Where a peer stands: the sha2-256 of its id in bytes, as in kad-dht. */
export function positionOf(peerId: PeerId): Position {
  let position = positions.get(peerId)
  if (position === undefined) {
    position = sha256(base58btc.baseDecode(peerId))
    if (positions.size >= MAX_REMEMBERED) positions.delete(positions.keys().next().value as PeerId)
    positions.set(peerId, position)
  }
  return position
}

/** Below 0 when `a` is closer to `target` than `b`; 0 only when they are equal. */
export function compareDistance(target: Position, a: Position, b: Position): number {
  for (let at = 0; at < target.length; at++) {
    const [one, other] = [a[at] as number, b[at] as number]
    if (one !== other) return (one ^ (target[at] as number)) - (other ^ (target[at] as number))
  }
  return 0
}

/** The `count` of `items` that stand closest to `target`, the closest first. */
export function closestTo<T>(target: Position, items: Iterable<T>, count: number, idOf: (item: T) => PeerId): T[] {
  return [...items]
    .map(item => ({ item, position: positionOf(idOf(item)) }))
    .sort((a, b) => compareDistance(target, a.position, b.position))
    .slice(0, count)
    .map(({ item }) => item)
}
