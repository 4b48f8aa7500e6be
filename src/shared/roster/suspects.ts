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
  lose(topicId: TopicId, peerId: PeerId): void
}

/** Finds out whether a member that fell silent is still there: dials it and says HELLO; who does not answer is lost. */
export class Suspects {
  readonly #needs: SuspectsNeeds
  readonly #underWay = new Set<PeerId>()
  readonly #slots = new Slots(MAX_PARALLEL_PROBES)

  constructor(needs: SuspectsNeeds) {
    this.#needs = needs
  }

  /** Checks one peer, in every topic it is known in; does nothing while a check is under way. */
  check(peerId: PeerId): void {
    const { table, signal, clock } = this.#needs
    if (signal.aborted || this.#underWay.has(peerId) || table.topicsOf(peerId).length === 0) return
    this.#underWay.add(peerId)
    void this.#slots
      .run(() => this.#probe(peerId), signal)
      .catch(() => undefined) // closing
      .finally(() => {
        // a peer that is found alive and drops its stream again and again must not keep us busy
        clock.after(PROBE_PAUSE_MS, () => this.#recheck(peerId))
      })
  }

  /** Checks everybody we know only through `voucher`, which is gone. */
  checkVouchedBy(voucher: PeerId): void {
    const { table } = this.#needs
    for (const topicId of table.topics()) {
      for (const { record, source } of table.members(topicId)) {
        if (source.kind === 'vouched' && source.by === voucher) this.check(record.peerId)
      }
    }
  }

  #recheck(peerId: PeerId): void {
    this.#underWay.delete(peerId)
    if (!this.#needs.node.isConnected(peerId)) this.check(peerId)
  }

  async #probe(peerId: PeerId): Promise<void> {
    const { node, table, signal } = this.#needs
    const topics = table.topicsOf(peerId)
    const addresses = [...new Set(topics.flatMap(topicId => table.member(topicId, peerId)?.record.addresses ?? []))]
    try {
      await node.connect({ peerId, addresses }, { signal })
    } catch {
      if (signal.aborted) return
      for (const topicId of topics) this.#needs.lose(topicId, peerId)
      return
    }
    await Promise.all(topics.map(topicId => this.#greet(peerId, topicId)))
  }

  async #greet(peerId: PeerId, topicId: TopicId): Promise<void> {
    const entry = this.#needs.table.member(topicId, peerId)
    if (entry === undefined) return
    try {
      await this.#needs.greet(peerId, { id: topicId, key: entry.record.topicKey })
    } catch (thrown) {
      if (this.#needs.signal.aborted || isMusterError(thrown, 'limit-reached')) return
      this.#needs.lose(topicId, peerId)
    }
  }
}
