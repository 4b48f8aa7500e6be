import type { PeerAddress, PeerId } from '../core/address.ts'
import { hexOf } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { asError, isMusterError } from '../core/errors.ts'
import type { Undo } from '../core/lifecycle.ts'
import type { Log } from '../core/log.ts'
import type { Random } from '../core/random.ts'
import { Slots } from '../core/slots.ts'
import type { Node } from '../node/port.ts'
import { compareDistance, type Position, positionOf } from '../node/position.ts'
import { nextTurn } from '../node/turn.ts'
import type { RecordFrame } from '../wire/record.ts'
import type { Held } from './book.ts'
import * as limits from './limits.ts'
import type { Lines } from './lines.ts'
import { Meetings } from './meetings.ts'
import type { OwnRecord, OwnRecords } from './own.ts'
import type { SignedRecord } from './record.ts'
import type { Shelf } from './shelf.ts'

export interface ReplicatorNeeds {
  readonly node: Pick<Node, 'peerId' | 'dht' | 'on' | 'isConnected'>
  readonly shelf: Shelf
  readonly own: OwnRecords
  readonly lines: Lines
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  publish(
    record: SignedRecord,
    signal: AbortSignal
  ): Promise<{ readonly stored: readonly PeerId[]; readonly newer: SignedRecord | undefined }>
  /** Signs a record anew, and publishes it. */
  renew(own: OwnRecord): Promise<void>
}

/**
 * Keeps records alive at the nodes closest to them. Owners say theirs again at a third of the validity; holders say what
 * nobody said for an hour (Kademlia, §2.5), and offer what they hold to whoever comes closer than they are.
 */
export class Replicator {
  readonly #needs: ReplicatorNeeds
  readonly #signal: AbortSignal
  readonly #ranking = new Slots(1)
  #isTicking = false

  constructor(needs: ReplicatorNeeds, signal: AbortSignal) {
    this.#needs = needs
    this.#signal = signal
  }

  start(): Undo {
    const { clock, node, random, log } = this.#needs
    const meetings = new Meetings({ clock, random, log, greet: peerId => this.#greet(peerId) })
    const undo = [
      clock.every(limits.REPUBLISH_TICK_MS, () => void this.tick()),
      node.on('connect', ({ peerId }) => meetings.met(peerId))
    ]
    return () => {
      for (const step of undo) step()
    }
  }

  /** Says what is due; with `isAll`, everything. Never rejects. */
  async tick(isAll = false): Promise<void> {
    if (this.#isTicking || this.#signal.aborted) return
    this.#isTicking = true
    try {
      await this.#sayOwn(isAll)
      await this.#sayHeld(isAll)
    } catch (thrown) {
      if (!this.#signal.aborted) this.#needs.log.error({ err: asError(thrown) }, 'records could not be said again')
    } finally {
      this.#isTicking = false
    }
  }

  async #sayOwn(isAll: boolean): Promise<void> {
    const { own, clock, log } = this.#needs
    for (const each of own.all()) {
      this.#signal.throwIfAborted()
      const now = clock.now()
      const { record } = each
      if (own.get(record.place) !== each) continue // written anew while others were said
      if (record.expiresMs <= now && each.renewMs === undefined) {
        await own.delete(record.place)
        continue
      }
      const third = (record.expiresMs - record.issuedMs) / 3
      try {
        if (isAll || now >= each.saidMs + third || (each.renewMs !== undefined && now >= record.expiresMs - third)) {
          await this.#say(each, now)
        }
      } catch (thrown) {
        this.#signal.throwIfAborted()
        if (!isMusterError(thrown)) throw thrown
        log.debug({ err: thrown }, 'a record of our own was not said again') // the next tick tries again
      }
    }
  }

  async #say(each: OwnRecord, now: number): Promise<void> {
    const { own, publish, renew } = this.#needs
    const { record, renewMs } = each
    const { stored, newer } = await publish(record, this.#signal)
    if (own.get(record.place) !== each) return // replaced meanwhile
    // somebody else has written the key since: it is theirs now
    if (newer !== undefined && newer.author !== record.author) return await own.delete(record.place)
    await own.set({ ...each, saidMs: now, stored: stored.length })
    if (renewMs !== undefined && now >= record.expiresMs - (record.expiresMs - record.issuedMs) / 3) await renew(each)
  }

  async #sayHeld(isAll: boolean): Promise<void> {
    const { node, shelf, clock } = this.#needs
    const now = clock.now()
    const due = [...shelf.rows()]
      .filter(([, held]) => held.expiresMs > now && (isAll || isDue(held, now)))
      .slice(0, limits.MAX_REPUBLISHED_PER_TICK)
    for (let at = 0; at < due.length; at += limits.REPUBLISH_BATCH) {
      const byTarget = new Map<PeerId, { readonly target: PeerAddress; readonly records: Held[] }>()
      const batch = due.slice(at, at + limits.REPUBLISH_BATCH)
      for (const [, held] of batch) {
        for (const target of node.dht.closest(held.place, limits.REPLICAS)) {
          const offer = byTarget.get(target.peerId) ?? { target, records: [] }
          byTarget.set(target.peerId, offer)
          offer.records.push(held)
        }
      }
      let isHeard = false
      for (const { target, records } of byTarget.values()) if (await this.#offer(target, records)) isHeard = true
      if (isHeard) for (const [row] of batch) shelf.said(row)
    }
  }

  /** Somebody came: what it should hold is offered to it. */
  async #greet(peerId: PeerId): Promise<void> {
    const { node, shelf, clock } = this.#needs
    if (this.#signal.aborted || !node.isConnected(peerId)) return
    const theirs = positionOf(peerId)
    const now = clock.now()
    const held = [...shelf.rows()].map(([, each]) => each).filter(({ expiresMs }) => expiresMs > now)
    // with many, only what it stands closer to than this node, which is as good as always offered by some holder
    const ours = held.length > limits.MAX_RANKED_OFFERS ? positionOf(node.peerId) : undefined
    for (let at = 0; at < held.length; at += limits.REPUBLISH_BATCH) {
      const batch = held.slice(at, at + limits.REPUBLISH_BATCH)
      const records = await this.#ranking.run(async () => {
        await nextTurn() // however many come at once, everything else has its turn in between
        return batch.filter(({ place }) => {
          const last = ours ?? this.#farthest(place)
          return last === undefined || compareDistance(place, theirs, last) <= 0
        })
      })
      if (!(await this.#offer({ peerId, addresses: [] }, records))) return
    }
  }

  /** Where the last of the k closest known nodes stands; undefined when fewer are known. */
  #farthest(place: Position): Position | undefined {
    const last = this.#needs.node.dht.closest(place, limits.REPLICAS)[limits.REPLICAS - 1]
    return last === undefined ? undefined : positionOf(last.peerId)
  }

  /** Offers records by their versions, and brings those that are wanted; false when the other side does not go on. */
  async #offer(target: PeerAddress, records: readonly Held[]): Promise<boolean> {
    const { lines, shelf, log } = this.#needs
    if (records.length === 0) return true
    try {
      const { places } = await lines.ask(target, 'offers', { records: records.map(offerOf) }, this.#signal)
      const offered = new Set(records.map(({ place }) => hexOf(place)))
      for (const place of places) {
        if (!offered.delete(hexOf(place))) continue // not what was offered, or wanted twice
        const envelope = await shelf.get(place)
        if (envelope !== undefined) await lines.ask(target, 'store', { envelope }, this.#signal)
      }
      return true
    } catch (thrown) {
      if (!isMusterError(thrown)) throw thrown
      log.debug({ err: thrown, peerId: target.peerId }, 'records not handed over') // they are offered again
      return false
    }
  }
}

/** Nobody said it for an hour; or this node did not for long, for anybody may claim to have it. */
function isDue({ heardMs, saidMs }: Held, now: number): boolean {
  return now - heardMs >= limits.REPUBLISH_MS || now - saidMs >= limits.MAX_UNSAID_MS
}

function offerOf({ place, sequence, issuedMs, expiresMs, digest }: Held): Offer {
  return { place, sequence, issuedMs, expiresMs, digest }
}

type Offer = NonNullable<RecordFrame['offers']>['records'][number]
