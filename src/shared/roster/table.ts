import type { PeerId } from '../core/address.ts'
import { type Random, sample } from '../core/random.ts'
import type { TopicId } from '../core/topic.ts'
import {
  MAX_MEMBERS_PER_TOPIC,
  MAX_ROSTER_ENTRIES,
  MAX_TOPICS,
  MAX_TOPICS_PER_PEER,
  MAX_VOUCHED_PER_PEER
} from './limits.ts'
import type { MemberRecord } from './record.ts'

/** How a record came to us. */
export type Source =
  /** From the member itself, over a connection that proves it. */
  | { readonly kind: 'direct' }
  /** From a neighbour whose word we take: it has reached the member, or has it from somebody who has. */
  | { readonly kind: 'vouched'; readonly by: PeerId }
  /** From a neighbour that does not know better, or whose word we do not take. */
  | { readonly kind: 'rumour'; readonly by: PeerId }
  /** From our own disk. */
  | { readonly kind: 'remembered' }

export interface Entry {
  readonly record: MemberRecord
  readonly source: Source
}

const RANK = { direct: 3, vouched: 2, rumour: 1, remembered: 0 } as const satisfies Record<Source['kind'], number>

/**
 * What applying a record did. `stale`: a newer or the same one is known. `backed`: the same one, from a better source.
 * `noted`: a goodbye of somebody who was no member here. `full`: a cap is reached.
 */
export type Applied = 'joined' | 'renewed' | 'left' | 'noted' | 'backed' | 'stale' | 'full'

/**
 * Who is in which topic, by signed records: pure, no clock, no sockets. A goodbye is remembered until it expires, so that
 * an older record cannot bring the member back.
 */
export class RosterTable {
  readonly #topics = new Map<TopicId, Map<PeerId, Entry>>()
  readonly #topicsOfPeer = new Map<PeerId, number>()
  readonly #vouchedBy = new Map<PeerId, number>()
  /** By who told them, in the order they came. */
  readonly #rumours = new Map<PeerId, Set<Entry>>()
  #rumourCount = 0
  #entries = 0
  #members = 0

  get topicCount(): number {
    return this.#topics.size
  }

  get memberCount(): number {
    return this.#members
  }

  get rumourCount(): number {
    return this.#rumourCount
  }

  /** The last rumour of whoever told most of them; undefined when nobody told more than `teller`. */
  lastRumourOfTheLoudest(teller: PeerId): Entry | undefined {
    let most = this.#rumours.get(teller)
    for (const told of this.#rumours.values()) if (told.size > (most?.size ?? 0)) most = told
    return most === this.#rumours.get(teller) ? undefined : [...(most ?? [])].at(-1)
  }

  /** True when `record` would change nothing: to be asked before its signature is checked. */
  isStale({ topicId, peerId, sequence }: Pick<MemberRecord, 'topicId' | 'peerId' | 'sequence'>): boolean {
    const known = this.#topics.get(topicId)?.get(peerId)
    return known !== undefined && known.record.sequence >= sequence
  }

  apply(record: MemberRecord, source: Source): Applied {
    const known = this.entry(record.topicId, record.peerId)
    const isBetter = known === undefined || RANK[source.kind] > RANK[known.source.kind]
    if (known !== undefined && known.record.sequence >= record.sequence) {
      if (known.record.sequence > record.sequence || known.record.left || record.left || !isBetter) return 'stale'
      this.#set(record.topicId, { record: known.record, source })
      return 'backed'
    }
    if (known === undefined && !this.#hasRoom(record, source)) return 'full'
    const isMember = known !== undefined && !known.record.left
    // whom we have reached ourselves stays reached when others are faster to tell that it renewed its record
    const keepsSource = isMember && !record.left && RANK[source.kind] < RANK[known.source.kind]
    this.#set(record.topicId, { record, source: keepsSource ? known.source : source })
    if (record.left) return isMember ? 'left' : 'noted'
    return isMember ? 'renewed' : 'joined'
  }

  entry(topicId: TopicId, peerId: PeerId): Entry | undefined {
    return this.#topics.get(topicId)?.get(peerId)
  }

  /** The member's entry; undefined when it is unknown or said goodbye. */
  member(topicId: TopicId, peerId: PeerId): Entry | undefined {
    const entry = this.entry(topicId, peerId)
    return entry?.record.left === false ? entry : undefined
  }

  members(topicId: TopicId): Entry[] {
    return [...(this.#topics.get(topicId)?.values() ?? [])].filter(entry => !entry.record.left)
  }

  topics(): TopicId[] {
    return [...this.#topics.keys()]
  }

  topicsOf(peerId: PeerId): TopicId[] {
    if (!this.#topicsOfPeer.has(peerId)) return []
    return this.topics().filter(topicId => this.member(topicId, peerId) !== undefined)
  }

  /** Members that `fit`: all, or a random choice when there are more than `count`; `first` is preferred. */
  sample(
    topicId: TopicId,
    count: number,
    random: Random,
    first: (entry: Entry) => boolean,
    fit: (entry: Entry) => boolean = () => true
  ): Entry[] {
    const fitting = this.members(topicId).filter(fit)
    const { yes = [], no = [] } = Object.groupBy(fitting, entry => (first(entry) ? 'yes' : 'no'))
    const preferred = sample(yes, count, random)
    return [...preferred, ...sample(no, count - preferred.length, random)]
  }

  /** Forgets a member without a goodbye: it may come back with the same record. */
  remove(topicId: TopicId, peerId: PeerId): Entry | undefined {
    const members = this.#topics.get(topicId)
    const entry = members?.get(peerId)
    if (members === undefined || entry === undefined) return undefined
    members.delete(peerId)
    if (members.size === 0) this.#topics.delete(topicId)
    this.#count(entry, -1)
    return entry
  }

  /** Removes what expired before `now` and returns it. */
  expire(now: number): Entry[] {
    const gone: Entry[] = []
    for (const [topicId, members] of this.#topics) {
      for (const { record } of [...members.values()]) {
        if (record.expiresMs > now) continue
        const entry = this.remove(topicId, record.peerId)
        if (entry !== undefined) gone.push(entry)
      }
    }
    return gone
  }

  #hasRoom({ topicId, peerId }: MemberRecord, source: Source): boolean {
    const members = this.#topics.get(topicId)
    if (this.#entries >= MAX_ROSTER_ENTRIES) return false
    if (members === undefined && this.#topics.size >= MAX_TOPICS) return false
    if (members !== undefined && members.size >= MAX_MEMBERS_PER_TOPIC) return false
    if ((this.#topicsOfPeer.get(peerId) ?? 0) >= MAX_TOPICS_PER_PEER) return false
    return !('by' in source) || (this.#vouchedBy.get(source.by) ?? 0) < MAX_VOUCHED_PER_PEER
  }

  #set(topicId: TopicId, entry: Entry): void {
    const members = this.#topics.get(topicId) ?? new Map<PeerId, Entry>()
    this.#topics.set(topicId, members)
    const known = members.get(entry.record.peerId)
    if (known !== undefined) this.#count(known, -1)
    members.set(entry.record.peerId, entry)
    this.#count(entry, 1)
  }

  #count(entry: Entry, by: 1 | -1): void {
    const { record, source } = entry
    this.#entries += by
    if (!record.left) this.#members += by
    add(this.#topicsOfPeer, record.peerId, by)
    if ('by' in source) add(this.#vouchedBy, source.by, by)
    if (source.kind === 'rumour' && !record.left) this.#countRumour(entry, source.by, by)
  }

  #countRumour(entry: Entry, teller: PeerId, by: 1 | -1): void {
    this.#rumourCount += by
    const told = this.#rumours.get(teller) ?? new Set<Entry>()
    this.#rumours.set(teller, told)
    if (by === 1) told.add(entry)
    else told.delete(entry)
    if (told.size === 0) this.#rumours.delete(teller)
  }
}

function add(counts: Map<string, number>, name: string, by: number): void {
  const next = (counts.get(name) ?? 0) + by
  if (next <= 0) counts.delete(name)
  else counts.set(name, next)
}
