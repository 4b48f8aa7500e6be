import type { PeerAddress, PeerId } from '../core/address.ts'
import { equalBytes } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { MusterError } from '../core/errors.ts'
import type { Node, Unseal } from '../node/port.ts'
import { compareDistance, positionOf } from '../node/position.ts'
import { Frontier } from './frontier.ts'
import { placeOf, type RecordKey } from './key.ts'
import * as limits from './limits.ts'
import type { Lines } from './lines.ts'
import type { OwnRecord, OwnRecords } from './own.ts'
import { compareRecords, openRecord, type RecordValue, type SignedRecord, signRecord } from './record.ts'
import type { Seen } from './seen.ts'
import type { Shelf } from './shelf.ts'
import { walk } from './walk.ts'

/** Tries of a write that finds a newer record. */
const MAX_TRIES = 3

export interface WriterNeeds {
  readonly node: Pick<Node, 'peerId' | 'dht' | 'seal'>
  readonly lines: Lines
  readonly shelf: Shelf
  readonly own: OwnRecords
  readonly seen: Seen
  readonly unseal: Unseal
  readonly clock: Clock
}

export interface Write {
  readonly key: RecordKey
  /** Undefined: a tombstone. */
  readonly value: RecordValue | undefined
  readonly validityMs: number
  readonly renew: boolean
}

export interface Put {
  readonly record: SignedRecord
  /** Other nodes that have it on disk. */
  readonly stored: number
  /** True when these are at least three. */
  readonly isQuorum: boolean
}

interface Published {
  readonly stored: readonly PeerId[]
  /** A record of the same key that some node holds instead. */
  readonly newer: SignedRecord | undefined
  /** Why others did not store it. */
  readonly refusals: ReadonlySet<string>
}

/** Signs records and brings them to the nodes closest to them. */
export class Writer {
  readonly #needs: WriterNeeds

  constructor(needs: WriterNeeds) {
    this.#needs = needs
  }

  /**
   * Writes one key; two writes of one key must not run at once.
   * @throws MusterError `unreachable` when nobody stored it; `refused` | `limit-reached` with the reason others gave; the
   *   signal's reason.
   */
  async write({ key, value, validityMs, renew }: Write, signal: AbortSignal): Promise<Put> {
    const { node, own, seen, clock } = this.#needs
    const place = placeOf(key)
    const before = own.get(place)
    let newest = await this.#newestKnown(place)
    for (let tries = 1; ; tries++) {
      const now = clock.now()
      // a clock that never stands still and never goes back, whoever wrote before
      const sequence = Math.max(now, key.kind === 'content' ? 0 : (newest?.sequence ?? 0) + 1)
      const issuedMs = Math.max(now, sequence)
      const record = await signRecord(node, { key, sequence, issuedMs, expiresMs: issuedMs + validityMs, value })
      const renewMs = renew ? validityMs : undefined
      await own.set({ record, renewMs, saidMs: 0, stored: 0 }) // killed from here on, it is said after the next start
      const { stored, newer, refusals } = await this.publish(record, signal)
      if (newer !== undefined && key.kind !== 'content') {
        newest = newer
        if (tries < MAX_TRIES) continue
      }
      if (stored.length === 0) {
        await this.#takeBack(record, before)
        throw notStored(refusals)
      }
      if (newer !== undefined && key.kind !== 'content') {
        throw new MusterError('refused', 'others write the key at the same time, and newer ones: try again')
      }
      await own.set({ record, renewMs, saidMs: now, stored: stored.length })
      seen.add(record)
      return { record, stored: stored.length, isQuorum: stored.length >= limits.QUORUM }
    }
  }

  /** Brings a record to the nodes closest to it, and to this one if it is one of them. */
  async publish(record: SignedRecord, signal: AbortSignal): Promise<Published> {
    const { node, lines, shelf, clock } = this.#needs
    const { place, envelope } = record
    const frontier = new Frontier(place, node.peerId, node.dht.closest(place, limits.REPLICAS))
    const stored = new Set<PeerId>()
    const onlyFound = new Set<PeerId>()
    const refusals = new Set<string>()
    let newer: SignedRecord | undefined
    const store = async (target: PeerAddress, wantsCloser: boolean) => {
      const answer = await lines.ask(target, 'store', { envelope, wantsCloser }, signal)
      if (answer.refusal === undefined) stored.add(target.peerId)
      else refusals.add(answer.refusal)
      if (answer.newer !== undefined) {
        const other = await this.#opened(answer.newer, place)
        if (other !== undefined && compareRecords(other, newer ?? record) > 0) newer = other
      }
      return answer.closer
    }
    const isClose = closeness(node)
    await walk({
      clock,
      frontier,
      signal,
      parallel: () => limits.REPLICAS,
      ask: async target => {
        // stored while walking (Optimistic Provide): most nodes that are asked for closer ones are holders themselves
        if (isClose(place, target.peerId)) return await store(target, true)
        const { closer } = await lines.ask(target, 'find', { place }, signal)
        onlyFound.add(target.peerId)
        return closer
      },
      isEnough: () => false
    })
    const closest = frontier.closest()
    const missing = closest.filter(({ peerId }) => onlyFound.has(peerId))
    await Promise.allSettled(missing.map(target => store(target, false)))
    signal.throwIfAborted()
    const last = closest[limits.REPLICAS - 1]
    if (stored.size === 0) return { stored: [], newer, refusals } // not here alone either: the caller hears that it failed
    if (last === undefined || compareDistance(place, positionOf(node.peerId), positionOf(last.peerId)) < 0) {
      await shelf.take(envelope)
    }
    return { stored: [...stored], newer, refusals }
  }

  async #newestKnown(place: Uint8Array): Promise<SignedRecord | undefined> {
    const { own, seen, shelf } = this.#needs
    const envelope = await shelf.get(place)
    const held = envelope === undefined ? undefined : await this.#opened(envelope, place)
    let newest: SignedRecord | undefined
    for (const known of [own.get(place)?.record, seen.get(place), held]) {
      if (known !== undefined && (newest === undefined || compareRecords(known, newest) > 0)) newest = known
    }
    return newest
  }

  /** Nobody has it, so nobody shall hear of it later; its sequence number is not used again, as time goes on. */
  async #takeBack(record: SignedRecord, before: OwnRecord | undefined): Promise<void> {
    const { own } = this.#needs
    if (before === undefined) await own.delete(record.place)
    else await own.set(before)
  }

  async #opened(envelope: Uint8Array, place: Uint8Array): Promise<SignedRecord | undefined> {
    const { unseal, clock } = this.#needs
    const record = await openRecord(envelope, unseal, clock.now()).catch(() => undefined) // rubbish is worth nothing
    return record !== undefined && equalBytes(record.place, place) ? record : undefined
  }
}

function notStored(refusals: ReadonlySet<string>): MusterError {
  if (refusals.size === 0) return new MusterError('unreachable', 'no node stored the record')
  if (refusals.has('future')) {
    return new MusterError('refused', "the record is from the future for other nodes: is this machine's clock ahead?")
  }
  if (refusals.has('full')) return new MusterError('limit-reached', 'the nodes that should store the record are full')
  if (refusals.has('rate')) return new MusterError('limit-reached', 'new keys come faster than other nodes take them')
  return new MusterError('refused', 'every node that was asked refused the record')
}

/**
 * Whether a node is probably one of the k closest to a place: as close as this node's own k-th neighbour is to this node,
 * since ids are spread evenly.
 */
function closeness(node: Pick<Node, 'dht' | 'peerId'>): (place: Uint8Array, peerId: PeerId) => boolean {
  const self = positionOf(node.peerId)
  const last = node.dht.closest(self, limits.REPLICAS)[limits.REPLICAS - 1]
  if (last === undefined) return () => true // the whole network is no larger
  const shared = commonBits(self, positionOf(last.peerId))
  return (place, peerId) => commonBits(place, positionOf(peerId)) >= shared
}

function commonBits(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < a.length; at++) {
    const difference = (a[at] as number) ^ (b[at] as number)
    if (difference !== 0) return at * 8 + Math.clz32(difference) - 24
  }
  return a.length * 8
}
