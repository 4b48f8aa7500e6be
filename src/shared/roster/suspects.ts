import type { PeerId } from '../core/address.ts'
import type { Clock } from '../core/clock.ts'
import { isMusterError } from '../core/errors.ts'
import { Slots } from '../core/slots.ts'
import type { Topic, TopicId } from '../core/topic.ts'
import type { Node } from '../node/port.ts'
import { MAX_PARALLEL_PROBES, PROBE_PAUSE_MS } from './limits.ts'
import type { RosterTable } from './table.ts'

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

/** What is asked of a check that is under way, or was a moment ago. */
interface Again {
  isWanted: boolean
  readonly onAlive: Array<() => void>
}

/** Finds out whether a member that fell silent is still there: dials it and says HELLO; who does not answer is lost. */
export class Suspects {
  readonly #needs: SuspectsNeeds
  readonly #underWay = new Map<PeerId, Again>()
  readonly #slots = new Slots(MAX_PARALLEL_PROBES)

  constructor(needs: SuspectsNeeds) {
    this.#needs = needs
  }

  /** Checks one peer in every topic it is known in. While it is being checked, or was just now, once more after that. */
  check(peerId: PeerId, onAlive?: () => void): void {
    const { table, signal } = this.#needs
    if (signal.aborted) return
    const underWay = this.#underWay.get(peerId)
    if (underWay !== undefined) {
      underWay.isWanted = true
      if (onAlive !== undefined) underWay.onAlive.push(onAlive)
      return
    }
    if (table.topicsOf(peerId).length === 0) return
    this.#start(peerId, onAlive === undefined ? [] : [onAlive])
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

  #start(peerId: PeerId, onAlive: readonly (() => void)[]): void {
    const { signal, clock, table } = this.#needs
    this.#underWay.set(peerId, { isWanted: false, onAlive: [] })
    void this.#slots
      .run(() => this.#probe(peerId), signal)
      .then(
        () => {
          if (table.topicsOf(peerId).length > 0) for (const tell of onAlive) tell()
        },
        () => undefined // closing
      )
      .finally(() => {
        // a peer that is found alive and drops its stream again and again must not keep us busy
        if (!signal.aborted) clock.after(PROBE_PAUSE_MS, () => this.#afterPause(peerId))
      })
  }

  #afterPause(peerId: PeerId): void {
    const { table, signal } = this.#needs
    const again = this.#underWay.get(peerId)
    this.#underWay.delete(peerId)
    if (again?.isWanted !== true || signal.aborted || table.topicsOf(peerId).length === 0) return
    this.#start(peerId, again.onAlive)
  }

  async #probe(peerId: PeerId): Promise<void> {
    const { table } = this.#needs
    for (const topicId of table.topicsOf(peerId)) await this.#probeIn(topicId, peerId)
  }

  async #probeIn(topicId: TopicId, peerId: PeerId): Promise<void> {
    const { node, table, signal, greet, lose } = this.#needs
    for (let attempt = 1; ; attempt++) {
      const entry = table.member(topicId, peerId)
      if (entry === undefined) return
      const { topicKey, addresses, sequence } = entry.record
      try {
        await node.connect({ peerId, addresses }, { signal })
        await greet(peerId, { id: topicId, key: topicKey })
        return
      } catch (thrown) {
        if (signal.aborted || isMusterError(thrown, 'limit-reached')) return
        // it came to us while we dialled where it was
        const mayTryAgain = node.isConnected(peerId) && !isMusterError(thrown, 'timed-out')
        if (attempt < ATTEMPTS && (mayTryAgain || isMusterError(thrown, 'closed'))) continue
        lose(topicId, peerId, sequence)
        return
      }
    }
  }
}
