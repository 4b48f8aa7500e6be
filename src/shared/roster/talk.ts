import type { PeerId } from '../core/address.ts'
import { MusterError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { type TopicId, topicIdOf } from '../core/topic.ts'
import type { Node } from '../node/port.ts'
import { MAX_MEMBERS_PER_ANSWER, type TopicFrame } from '../wire/topic.ts'
import type { Ledger } from './ledger.ts'
import { MAX_CLOCK_SKEW_MS, MAX_TOPICS } from './limits.ts'
import type { Link } from './link.ts'
import type { OwnRecords } from './own.ts'
import { type MemberRecord, peekRecord, RejectedRecord } from './record.ts'
import type { Suspects } from './suspects.ts'
import type { Entry, RosterTable, Source } from './table.ts'

export interface TalkNeeds {
  readonly node: Pick<Node, 'peerId' | 'isConnected' | 'dht'>
  readonly table: RosterTable
  readonly ledger: Ledger
  readonly own: OwnRecords
  readonly suspects: Suspects
  readonly random: Random
  readonly keepsEveryTopic: boolean
  now(): number
  holds(topicId: TopicId): boolean
  /** Whether a neighbour has answered our HELLO for a topic. */
  trusts(peerId: PeerId, topicId: TopicId): boolean
  /** Verifies a record. @throws RejectedRecord */
  opened(envelope: Uint8Array): Promise<MemberRecord>
  /** Says anew who we are, newer than a record of ours from before. */
  catchUp(envelope: Uint8Array, claimed: MemberRecord): Promise<void>
  onRejected(error: RejectedRecord): void
  onFull(): void
}

/** What each frame of the topic protocol does: see docs/protocols/topic.md. */
export class Talk {
  readonly #needs: TalkNeeds

  constructor(needs: TalkNeeds) {
    this.#needs = needs
  }

  async handle(link: Link, frame: TopicFrame): Promise<void> {
    const { hello, members, update, lost, refusal, unwatch } = frame
    if (hello !== undefined) await this.#onHello(link, hello)
    else if (members !== undefined) await this.#onMembers(link, members)
    else if (update !== undefined) await this.#onUpdate(link, update)
    else if (lost !== undefined) this.#onLost(link, lost)
    else if (refusal !== undefined) this.#onRefusal(link, refusal)
    else if (unwatch !== undefined) link.unshare(topicIdOf(unwatch.topic))
  }

  async #onHello(link: Link, { topic, envelope }: NonNullable<TopicFrame['hello']>): Promise<void> {
    const { holds, opened, ledger } = this.#needs
    const topicId = topicIdOf(topic)
    if (!holds(topicId)) return await this.#refuse(link, topicId, topic)
    if (!link.shared.has(topicId) && link.shared.size >= MAX_TOPICS) {
      this.#needs.onFull()
      return link.send({ refusal: { topic, code: 'limit-reached' } })
    }
    let sequence = 0
    if (envelope !== undefined) {
      const record = await opened(envelope)
      sequence = record.sequence
      if (record.peerId !== link.peerId || record.topicId !== topicId || record.left) {
        throw new MusterError('protocol-violation', 'a HELLO with the record of another member')
      }
      const applied = await ledger.learn(record, { kind: 'direct' }, link.peerId)
      if (applied === 'full') return link.send({ refusal: { topic, code: 'limit-reached' } })
      if (!holds(topicId)) return await this.#refuse(link, topicId, topic) // left meanwhile
    }
    link.shared.add(topicId)
    link.send({ members: this.#answer(topicId, topic, link.peerId, sequence) })
  }

  /** Whoever asks while our goodbye is on its way to it, over another stream, hears the goodbye first: we are not lost. */
  async #refuse(link: Link, topicId: TopicId, topic: Uint8Array): Promise<void> {
    const goodbye = await this.#needs.own.lastWord(topicId)
    if (goodbye !== undefined) link.send({ update: { topic, envelope: goodbye.envelope } })
    link.send({ refusal: { topic, code: 'not-a-member' } })
  }

  #answer(topicId: TopicId, topic: Uint8Array, asker: PeerId, sequence: number): NonNullable<TopicFrame['members']> {
    const { table, keepsEveryTopic, node, random } = this.#needs
    const own = this.#needs.own.get(topicId)
    // nobody is told its own word as ours: two would vouch for a third to each other, for ever
    const isLive = ({ source, record }: Entry): boolean =>
      (source.kind === 'vouched' && source.by !== asker) ||
      (source.kind === 'direct' && node.isConnected(record.peerId))
    // a bootstrap checks whom it remembers within seconds; a peer does so only when it needs them
    const isTold = ({ source }: Entry): boolean =>
      source.kind !== 'rumour' && (source.kind !== 'remembered' || keepsEveryTopic)
    // a newer record of the asker's than the one it sent: it has to catch up
    const known = table.entry(topicId, asker)
    const newer = known !== undefined && outdoes(known.record, sequence) ? [{ envelope: known.record.envelope }] : []
    const self = own === undefined ? [] : [{ envelope: own.envelope, isLive: true }]
    const room = MAX_MEMBERS_PER_ANSWER - self.length - newer.length
    const others = table
      .sample(topicId, room + 1, random, isLive, isTold)
      .filter(({ record }) => record.peerId !== asker)
      .slice(0, room)
    return {
      topic,
      entries: [
        ...self,
        ...newer,
        ...others.map(entry => ({ envelope: entry.record.envelope, isLive: isLive(entry) }))
      ],
      total: table.members(topicId).filter(isTold).length + self.length
    }
  }

  async #onMembers(link: Link, { topic, entries, total = 0 }: NonNullable<TopicFrame['members']>): Promise<void> {
    const topicId = topicIdOf(topic)
    const answer = link.answered(topicId)
    if (answer === undefined) throw new MusterError('protocol-violation', 'an answer nobody asked for')
    link.trusted.add(topicId)
    const named = new Set<PeerId>()
    try {
      for (const { envelope, isLive = false } of entries) {
        const record = await this.#learn(envelope, link, isLive, true)
        if (record !== undefined) named.add(record.peerId)
      }
    } finally {
      answer.resolve()
    }
    if (total > MAX_MEMBERS_PER_ANSWER) return
    // whom we know and it does not: so that two halves of a group become one
    for (const { record, source } of this.#needs.table.members(topicId).slice(0, MAX_MEMBERS_PER_ANSWER)) {
      const isTold = source.kind === 'direct' || (source.kind === 'vouched' && source.by !== link.peerId)
      if (!isTold || named.has(record.peerId) || record.peerId === link.peerId) continue
      link.send({ update: { topic, envelope: record.envelope } })
    }
  }

  async #onUpdate(link: Link, { topic, envelope }: NonNullable<TopicFrame['update']>): Promise<void> {
    const { holds, opened, node, now } = this.#needs
    if (holds(topicIdOf(topic))) {
      await this.#learn(envelope, link, true, false)
      return
    }
    // not our topic: still, a goodbye deletes the provider record we may hold
    const record = await opened(envelope)
    // …unless it is an old one that somebody says again: the member may have come back since
    const isFresh = now() - record.issuedMs <= MAX_CLOCK_SKEW_MS
    if (record.left && isFresh) await node.dht.forget(record.topicKey, record.peerId)
  }

  #onLost(link: Link, { topic, peerId }: NonNullable<TopicFrame['lost']>): void {
    const { table, node, suspects, ledger } = this.#needs
    const topicId = topicIdOf(topic)
    const entry = table.member(topicId, peerId)
    if (entry === undefined) return
    const { source } = entry
    const isItsWord = 'by' in source && source.by === link.peerId
    if (isItsWord && !node.isConnected(peerId)) {
      ledger.lose(topicId, peerId)
      return
    }
    // a connection may be dead and not know it: only an answer makes us contradict
    suspects.check(peerId, () => {
      const known = table.member(topicId, peerId)
      if (known !== undefined) link.send({ update: { topic, envelope: known.record.envelope } })
    })
  }

  #onRefusal(link: Link, { topic, code }: NonNullable<TopicFrame['refusal']>): void {
    const topicId = topicIdOf(topic)
    link.unshare(topicId)
    const isThere = code !== 'not-a-member'
    if (!isThere) this.#needs.ledger.lose(topicId, link.peerId)
    const error = isThere
      ? new MusterError('limit-reached', 'the peer cannot hold more of the topic')
      : new MusterError('not-a-member', 'the peer is not in the topic')
    link.answered(topicId)?.reject(error)
  }

  /** Learns a record that came from a neighbour. Old news costs no signature check. */
  async #learn(
    envelope: Uint8Array,
    link: Link,
    isVouched: boolean,
    isAsked: boolean
  ): Promise<MemberRecord | undefined> {
    const { node, table, opened, catchUp, onRejected } = this.#needs
    try {
      const claimed = peekRecord(envelope)
      if (claimed.peerId === node.peerId) {
        await catchUp(envelope, claimed)
        return claimed
      }
      const isItself = claimed.peerId === link.peerId && !claimed.left
      const isWitness = isVouched && this.#takesWordOf(link.peerId, claimed.topicId)
      const word: Source = { kind: isWitness ? 'vouched' : 'rumour', by: link.peerId }
      if (!isItself && table.isStale(claimed)) {
        const known = table.member(claimed.topicId, claimed.peerId)
        // what was a rumour has a witness now; its record is verified already
        if (known?.record.sequence === claimed.sequence) await this.#enter(known.record, word, link, isAsked)
        return claimed
      }
      const record = await opened(envelope)
      await this.#enter(record, isItself ? { kind: 'direct' } : word, link, isAsked)
      const known = isItself ? table.entry(record.topicId, record.peerId) : undefined
      if (known !== undefined && outdoes(known.record, record.sequence)) {
        link.send({ update: { topic: record.topicKey, envelope: known.record.envelope } }) // it has to catch up
      }
      return record
    } catch (thrown) {
      if (!(thrown instanceof RejectedRecord)) throw thrown
      onRejected(thrown)
      return undefined
    }
  }

  /** Whoever only watches a topic can say what it likes: a witness is a member itself, or somebody we have asked. */
  #takesWordOf(peerId: PeerId, topicId: TopicId): boolean {
    const { table, trusts } = this.#needs
    const entry = table.entry(topicId, peerId)
    if (entry?.record.left === true) return false
    return entry?.source.kind === 'direct' || trusts(peerId, topicId)
  }

  /** A bootstrap finds out by itself whether there is something in a rumour; a peer's group does that when it wants to. */
  async #enter(record: MemberRecord, word: Source, link: Link, isAsked: boolean): Promise<void> {
    const { keepsEveryTopic, ledger, suspects, table, onFull } = this.#needs
    const { topicId, peerId, sequence, left } = record
    if (keepsEveryTopic && word.kind === 'rumour' && !left) {
      const known = table.member(topicId, peerId)
      if (known?.record.sequence === sequence) return // perhaps remembered, which others are told
      const isNews = known === undefined || known.source.kind === 'remembered'
      if (isNews && !ledger.makeRoomForRumour(link.peerId)) return onFull()
    }
    await ledger.learn(record, word, link.peerId, isAsked)
    if (keepsEveryTopic && table.member(topicId, peerId)?.source.kind === 'rumour') suspects.check(peerId)
  }
}

/** Whether a record stands against one of `sequence` from the member itself, which so has to catch up. */
export function outdoes(record: MemberRecord, sequence: number): boolean {
  return record.sequence > sequence || (record.sequence === sequence && record.left)
}
