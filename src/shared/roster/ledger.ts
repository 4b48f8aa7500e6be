import type { PeerId } from '../core/address.ts'
import type { Emitter } from '../core/events.ts'
import type { Log } from '../core/log.ts'
import type { TopicId } from '../core/topic.ts'
import type { Node } from '../node/port.ts'
import type { TopicFrame } from '../wire/topic.ts'
import { MAX_ADDRESS_BOOK, MAX_RUMOURS } from './limits.ts'
import type { MemberRecord } from './record.ts'
import type { RosterEvents, RosterMetrics } from './roster.ts'
import type { RosterRows, RowName } from './rows.ts'
import type { Applied, Entry, RosterTable, Source } from './table.ts'

export interface LedgerNeeds {
  readonly table: RosterTable
  readonly events: Pick<Emitter<RosterEvents>, 'emit'>
  readonly dht: Pick<Node['dht'], 'forget'>
  readonly rows: RosterRows | undefined
  readonly metrics: RosterMetrics | undefined
  readonly log: Log
  readonly keepsEveryTopic: boolean
  holds(topicId: TopicId): boolean
  tell(topicId: TopicId, frame: TopicFrame, ...except: ReadonlyArray<PeerId | undefined>): void
  /** A topic has its first member. */
  onTopic(record: MemberRecord, from: PeerId | undefined): void
}

/** Enters records into the table, and what follows: events, news to neighbours, the row on disk. */
export class Ledger {
  readonly #needs: LedgerNeeds
  /** Rows a peer keeps of members that are gone, oldest first: addresses to try when nobody else is left. */
  readonly #book = new Map<string, RowName>()

  constructor(needs: LedgerNeeds) {
    this.#needs = needs
  }

  /** Takes a verified record. When it resolves, what is new of it is on disk. */
  async learn(record: MemberRecord, source: Source, from?: PeerId, isAsked = false): Promise<Applied> {
    const { table, events, metrics, holds, tell, onTopic, keepsEveryTopic } = this.#needs
    if (!holds(record.topicId)) return 'stale'
    const isNewTopic = table.members(record.topicId).every(isRumour)
    const applied = table.apply(record, source)
    if (applied === 'full') metrics?.increment('muster_topic_rejected_total', { reason: 'limit' })
    if (applied === 'full' || applied === 'stale') {
      const known = table.member(record.topicId, record.peerId)
      if (source.kind === 'direct' && known?.record.sequence === record.sequence) events.emit('live', known.record)
      return applied
    }
    // all in one turn: what comes in while the row is being written must find this done
    if (applied === 'left' || applied === 'noted') this.#gone(record, 'goodbye', applied === 'left')
    else if (source.kind === 'direct') events.emit('live', record)
    else events.emit('heard', { record, isVouched: source.kind === 'vouched', isAsked })
    // a rumour is not passed on, for who hears it from us would take us for a witness; but whoever tells that a member
    // we know to be there renewed its record, or left, has the member's own word for it
    const known = record.left ? undefined : table.member(record.topicId, record.peerId)
    const isTold = known === undefined ? applied === 'left' || source.kind !== 'rumour' : !isRumour(known)
    if (isTold) {
      tell(record.topicId, { update: { topic: record.topicKey, envelope: record.envelope } }, from, record.peerId)
    }
    if (known !== undefined && isRumour(known)) return applied // nobody relies on it yet
    if (isNewTopic && keepsEveryTopic && !record.left) onTopic(record, from)
    await this.#write(record)
    if (record.left) await this.#needs.dht.forget(record.topicKey, record.peerId)
    return applied
  }

  /** Takes a member for live whose record is known. */
  confirm(topicId: TopicId, peerId: PeerId): void {
    const { table, events } = this.#needs
    const known = table.member(topicId, peerId)
    if (known === undefined) return
    table.apply(known.record, { kind: 'direct' })
    events.emit('live', known.record)
    if (isRumour(known)) void this.#write(known.record)
  }

  /** A member that is neither reached nor vouched for any more; nothing when its record has changed since. */
  lose(topicId: TopicId, peerId: PeerId, sequence?: number): void {
    const { table, keepsEveryTopic, tell } = this.#needs
    const known = table.member(topicId, peerId)
    if (known === undefined || (sequence !== undefined && known.record.sequence !== sequence)) return
    const { record } = known
    table.remove(topicId, peerId)
    void this.#release(known)
    if (isRumour(known) && keepsEveryTopic) return // nobody was told of it
    this.#gone(record, 'lost', true)
    if (!isRumour(known)) tell(topicId, { lost: { topic: record.topicKey, peerId } }, peerId)
  }

  /** False when `by` has told enough of those that wait to be checked; else whoever told more makes room. */
  makeRoomForRumour(by: PeerId): boolean {
    const { table } = this.#needs
    if (table.rumourCount < MAX_RUMOURS) return true
    const { record } = table.lastRumourOfTheLoudest(by) ?? {}
    if (record === undefined) return false
    this.lose(record.topicId, record.peerId)
    return true
  }

  expire(now: number): void {
    for (const entry of this.#needs.table.expire(now)) {
      void this.#release(entry)
      if (!entry.record.left) this.#gone(entry.record, 'lost', true)
    }
  }

  /** A peer is not in the topic any more. When it resolves, what is to go from the disk is gone. */
  async leave(topicId: TopicId): Promise<void> {
    const { table } = this.#needs
    const members = table.members(topicId)
    for (const { record } of members) table.remove(topicId, record.peerId)
    await Promise.all(members.map(entry => this.#release(entry)))
  }

  /** False when no more expired rows are to be kept. */
  keepsInBook(row: RowName): boolean {
    if (this.#book.size >= MAX_ADDRESS_BOOK) return false
    this.#book.set(nameOf(row), row)
    return true
  }

  #gone(record: MemberRecord, reason: 'goodbye' | 'lost', isCounted: boolean): void {
    if (isCounted) this.#needs.metrics?.increment('muster_members_left_total', { reason })
    this.#needs.events.emit('gone', { record, reason })
  }

  async #write(record: MemberRecord): Promise<void> {
    const { rows, keepsEveryTopic, log } = this.#needs
    if (rows === undefined || (record.left && !keepsEveryTopic)) return // a peer keeps the last address instead
    this.#book.delete(nameOf(record))
    try {
      await rows.put(record)
    } catch (thrown) {
      if (keepsEveryTopic) throw thrown // its answer says that it will remember
      log.error({ err: thrown }, 'member record not kept')
    }
  }

  /**
   * The row of one that is not in the table any more. A bootstrap forgets it. A peer keeps those it has met itself, now or
   * in an earlier run, the last few of them: whom others made up could fill the disk.
   */
  async #release({ record, source }: Entry): Promise<void> {
    const isMet = source.kind === 'direct' || source.kind === 'remembered'
    if (this.#needs.keepsEveryTopic || record.left || source.kind === 'vouched') await this.#erase(record)
    else if (isMet) await this.#shelve(record)
    // a rumour has no row, unless an earlier run has met the member: then its address is still worth a try
  }

  async #shelve({ topicId, peerId }: RowName): Promise<void> {
    const row = { topicId, peerId } // not the record, which has kilobytes
    this.#book.delete(nameOf(row))
    this.#book.set(nameOf(row), row)
    const [oldest] = this.#book.values()
    if (this.#book.size > MAX_ADDRESS_BOOK && oldest !== undefined) await this.#erase(oldest)
  }

  async #erase(row: RowName): Promise<void> {
    const { rows, log } = this.#needs
    this.#book.delete(nameOf(row))
    await rows?.delete(row).catch(thrown => log.error({ err: thrown }, 'row not deleted'))
  }
}

function nameOf({ topicId, peerId }: RowName): string {
  return `${topicId}/${peerId}`
}

function isRumour({ source }: Pick<Entry, 'source'>): boolean {
  return source.kind === 'rumour'
}
