import type { PeerId } from '../core/address.ts'
import type { Clock } from '../core/clock.ts'
import { isMusterError } from '../core/errors.ts'
import type { Topic, TopicId } from '../core/topic.ts'
import type { Node } from '../node/port.ts'
import { nextTurn } from '../node/turn.ts'
import { GOODBYE_GRACE_MS, MAX_PARALLEL_HEARSAY_PROBES, MAX_PARALLEL_PROBES, PROBE_PAUSE_MS } from './limits.ts'
import type { RosterTable } from './table.ts'
import { Turns } from './turns.ts'

export interface SuspectsNeeds {
  readonly node: Pick<Node, 'isConnected' | 'connect'>
  readonly table: RosterTable
  readonly clock: Clock
  readonly signal: AbortSignal
  greet(peerId: PeerId, topic: Pick<Topic, 'id' | 'key'>): Promise<void>
  /** Takes the member for gone, unless its record is not the one of `sequence` any more. */
  lose(topicId: TopicId, peerId: PeerId, sequence: number): void
}

/** A stream may end while we ask over it, e.g. because the other side has just come back: asked twice, not once. */
const ATTEMPTS = 2

interface Check {
  /** Who told of the peer, when it is known by hearsay alone. */
  readonly teller: PeerId | undefined
  readonly onAlive: Array<() => void>
  isStarted: boolean
  /** Asked for once more since it started, and by whom. */
  isWantedAgain: boolean
  readonly onAliveAgain: Array<() => void>
}

/**
 * Finds out whether a member is there that fell silent, or that we only heard of: dials it and says HELLO; who does not
 * answer is lost. Those we have reached do not wait behind hearsay, of which anybody can tell any amount.
 */
export class Suspects {
  readonly #needs: SuspectsNeeds
  /** Waiting, under way, or done a moment ago. */
  readonly #checks = new Map<PeerId, Check>()
  readonly #reached = new Turns(MAX_PARALLEL_PROBES)
  readonly #hearsay = new Turns(MAX_PARALLEL_HEARSAY_PROBES)

  constructor(needs: SuspectsNeeds) {
    this.#needs = needs
  }

  /** Checks one peer in every topic it is known in. While it is being checked, or was just now, once more after that. */
  check(peerId: PeerId, onAlive?: () => void): void {
    if (this.#needs.signal.aborted) return
    const underWay = this.#checks.get(peerId)
    const tell = onAlive === undefined ? [] : [onAlive]
    if (underWay?.isStarted === true) {
      underWay.isWantedAgain = true
      underWay.onAliveAgain.push(...tell)
      return
    }
    if (underWay === undefined) {
      if (this.#needs.table.topicsOf(peerId).length > 0) this.#queue(peerId, tell)
      return
    }
    underWay.onAlive.push(...tell)
    // it came to us while it waited among those we only heard of
    if (underWay.teller !== undefined && this.#tellerOf(peerId) === undefined) this.#queue(peerId, underWay.onAlive)
  }

  /** Checks everybody we know only through `voucher`, which is gone, or gone from one topic. */
  checkVouchedBy(voucher: PeerId, onlyIn?: TopicId): void {
    const { table } = this.#needs
    for (const topicId of onlyIn === undefined ? table.topics() : [onlyIn]) {
      for (const { record, source } of table.members(topicId)) {
        if ('by' in source && source.by === voucher) this.check(record.peerId)
      }
    }
  }

  /** Undefined when we have reached the peer ourselves, in whichever topic. */
  #tellerOf(peerId: PeerId): PeerId | undefined {
    const { table } = this.#needs
    const sources = table.topicsOf(peerId).flatMap(topicId => table.member(topicId, peerId)?.source ?? [])
    if (sources.some(source => !('by' in source))) return undefined
    return sources.flatMap(source => ('by' in source ? source.by : []))[0]
  }

  #queue(peerId: PeerId, onAlive: Array<() => void>): void {
    const teller = this.#tellerOf(peerId)
    const check: Check = { teller, onAlive, isStarted: false, isWantedAgain: false, onAliveAgain: [] }
    this.#checks.set(peerId, check)
    const turns = teller === undefined ? this.#reached : this.#hearsay
    turns.add(teller ?? '', () => this.#run(peerId, check))
  }

  async #run(peerId: PeerId, check: Check): Promise<void> {
    const { signal, clock, table } = this.#needs
    if (signal.aborted || this.#checks.get(peerId) !== check) return // it moved to the other queue
    check.isStarted = true
    // all at once: they share a dial and a stream, and who is gone is not gone from one topic after the other
    await Promise.all(table.topicsOf(peerId).map(topicId => this.#probe(topicId, peerId)))
    if (signal.aborted) return
    if (table.topicsOf(peerId).length > 0) for (const tell of check.onAlive) tell()
    // a peer that is found alive and drops its stream again and again must not keep us busy
    clock.after(PROBE_PAUSE_MS, () => this.#afterPause(peerId, check))
  }

  #afterPause(peerId: PeerId, { isWantedAgain, onAliveAgain }: Check): void {
    const { table, signal } = this.#needs
    this.#checks.delete(peerId)
    if (isWantedAgain && !signal.aborted && table.topicsOf(peerId).length > 0) this.#queue(peerId, onAliveAgain)
  }

  async #probe(topicId: TopicId, peerId: PeerId): Promise<void> {
    const { node, table, signal, greet, lose, clock } = this.#needs
    for (let attempt = 1; ; attempt++) {
      const entry = table.member(topicId, peerId)
      if (entry === undefined) return
      const { topicKey, addresses, sequence } = entry.record
      try {
        await node.connect({ peerId, addresses }, { signal })
        await greet(peerId, { id: topicId, key: topicKey })
        if (!signal.aborted) this.#dropUnproven(topicId, peerId)
        return
      } catch (thrown) {
        if (signal.aborted) return
        if (isMusterError(thrown, 'limit-reached')) return this.#dropUnproven(topicId, peerId)
        // it came to us while we dialled where it was
        const mayTryAgain = node.isConnected(peerId) && !isMusterError(thrown, 'timed-out')
        if (attempt < ATTEMPTS && (mayTryAgain || isMusterError(thrown, 'closed'))) continue
        // its goodbye may be on its way by way of others: a member that left is not lost
        if (entry.source.kind === 'direct') {
          await new Promise<void>(resolve => clock.after(GOODBYE_GRACE_MS, resolve))
          await nextTurn() // time passed also while we were busy, and what came meanwhile is still to be read
          if (signal.aborted) return
          if (attempt < ATTEMPTS && node.isConnected(peerId)) continue
        }
        lose(topicId, peerId, sequence)
        return
      }
    }
  }

  /** It answers, and says nothing of being a member: then the rumour was wrong. */
  #dropUnproven(topicId: TopicId, peerId: PeerId): void {
    const { table, lose } = this.#needs
    const entry = table.member(topicId, peerId)
    if (entry?.source.kind === 'rumour') lose(topicId, peerId, entry.record.sequence)
  }
}
