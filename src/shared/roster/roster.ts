import type { PeerId } from '../core/address.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { asMusterError, MusterError } from '../core/errors.ts'
import { Emitter, type Subscribable } from '../core/events.ts'
import { type Closable, Scope } from '../core/lifecycle.ts'
import { type Log, silentLog } from '../core/log.ts'
import { type Random, systemRandom } from '../core/random.ts'
import { deadline, raceSignal } from '../core/signals.ts'
import { type Topic, type TopicId, topicIdOf } from '../core/topic.ts'
import type { Channel, Node, Unseal } from '../node/port.ts'
import { MAX_MEMBERS_PER_ANSWER, MAX_TOPIC_FRAME_BYTES, TOPIC_PROTOCOL, type TopicFrame, topicFrameCodec } from '../wire/topic.ts'
import {
  HELLO_TIMEOUT_MS,
  MAX_TOPIC_STREAMS_PER_CONNECTION,
  MAX_TOPICS,
  RECORD_VALIDITY_MS,
  RESTART_GRACE_MS
} from './limits.ts'
import { type FrameKind, kindOf, Link } from './link.ts'
import { type MemberRecord, openRecord, peekRecord, RejectedRecord, type RejectReason, signRecord } from './record.ts'
import type { RosterRows } from './rows.ts'
import { Suspects } from './suspects.ts'
import { type Applied, type Entry, RosterTable, type Source } from './table.ts'

export interface RosterEvents extends Record<string, unknown> {
  /** A member proved itself over its own connection. May come again for the same member. */
  live: MemberRecord
  /** Somebody told us of a member we have not reached; `isVouched` when a neighbour says it is connected to it. */
  heard: { readonly record: MemberRecord; readonly isVouched: boolean }
  gone: { readonly record: MemberRecord; readonly reason: 'goodbye' | 'lost' }
  /** The last topic stream to a peer ended. */
  unlinked: { readonly peerId: PeerId }
}

/** What the roster counts; `Metrics` of `status` fits. */
export interface RosterMetrics {
  increment(
    name: 'muster_topic_frames_total',
    labels: { readonly kind: FrameKind; readonly direction: 'in' | 'out' }
  ): void
  increment(name: 'muster_topic_rejected_total', labels: { readonly reason: RejectReason | 'limit' | 'rate' | 'stale' }): void
  increment(name: 'muster_members_left_total', labels: { readonly reason: 'goodbye' | 'lost' }): void
}

export interface RosterNeeds {
  readonly node: Pick<Node, 'peerId' | 'addresses' | 'open' | 'handle' | 'isConnected' | 'connect' | 'on' | 'seal' | 'dht'>
  readonly unseal: Unseal
  /** Where records outlive the process; nothing is kept without. */
  readonly rows?: RosterRows
  readonly metrics?: RosterMetrics
  readonly clock?: Clock
  readonly random?: Random
  readonly log?: Log
}

export interface RosterOptions {
  /** True for a bootstrap: it keeps every topic's roster, not only those it has joined. */
  readonly keepsEveryTopic?: boolean
  readonly validityMs?: number
}

/** Who is in a topic right now: signed member records, exchanged over the topic protocol (docs/protocols/topic.md). */
export interface Roster extends Closable, Subscribable<RosterEvents> {
  readonly counts: { readonly topics: number; readonly members: number }
  topics(): ReadonlyArray<{ readonly topicId: TopicId; readonly members: number }>
  members(topicId: TopicId): readonly MemberRecord[]
  /** Our own record in a topic we have entered, as it travels. */
  own(topicId: TopicId): Uint8Array | undefined
  /** Makes us a member; nobody hears of it before {@link greet}. */
  enter(topic: Topic, name: string | undefined): Promise<void>
  /** Says goodbye to everybody who shares the topic, and to `holders` of our provider record. */
  exit(topicId: TopicId, holders: readonly PeerId[]): Promise<void>
  /**
   * Says HELLO to a connected peer and learns whom it knows.
   * @throws MusterError `not-a-member` when it is not in the topic; `unreachable` | `timed-out` | `closed` | `network-mismatch`.
   */
  greet(peerId: PeerId, topic: Pick<Topic, 'id' | 'key'>, signal?: AbortSignal): Promise<void>
  /** Takes a member for live because we hold a connection to it and its record is verified. */
  confirm(topicId: TopicId, peerId: PeerId): void
  /** Verifies a record that a peer presented about itself. */
  admit(peerId: PeerId, topicId: TopicId, envelope: Uint8Array): Promise<void>
  /** From now on every topic kept here is also shared with `peerId`, another bootstrap. */
  follow(peerId: PeerId): Promise<void>
}

export async function createRoster(needs: RosterNeeds, options: RosterOptions = {}): Promise<Roster> {
  const roster = new LiveRoster(needs, options)
  await roster.remember()
  return roster
}

class LiveRoster extends Emitter<RosterEvents> implements Roster {
  readonly signal: AbortSignal
  readonly #needs: RosterNeeds
  readonly #clock: Clock
  readonly #log: Log
  readonly #keepsEveryTopic: boolean
  readonly #validityMs: number
  readonly #scope = new Scope()
  readonly #table = new RosterTable()
  readonly #own = new Map<TopicId, MemberRecord>()
  readonly #links = new Map<PeerId, Set<Link>>()
  readonly #upstreams = new Set<PeerId>()
  readonly #suspects: Suspects
  #lastSequence = 0

  constructor(needs: RosterNeeds, options: RosterOptions) {
    super()
    this.#needs = needs
    this.#clock = needs.clock ?? systemClock
    this.#log = needs.log ?? silentLog
    this.#keepsEveryTopic = options.keepsEveryTopic ?? false
    this.#validityMs = options.validityMs ?? RECORD_VALIDITY_MS
    this.signal = this.#scope.signal
    this.#suspects = new Suspects({
      node: needs.node,
      table: this.#table,
      clock: this.#clock,
      signal: this.signal,
      greet: (peerId, topic) => this.greet(peerId, topic),
      lose: (topicId, peerId) => this.#lose(topicId, peerId)
    })
    const { node } = needs
    this.#scope.defer(
      node.handle(
        TOPIC_PROTOCOL,
        { maxFrameBytes: MAX_TOPIC_FRAME_BYTES, maxInboundPerConnection: MAX_TOPIC_STREAMS_PER_CONNECTION },
        channel => this.#serve(this.#addLink(channel))
      )
    )
    this.#scope.defer(node.on('disconnect', ({ peerId }) => this.#suspects.check(peerId)))
    this.#scope.defer(node.on('addresses', () => this.#renewAll()))
    this.#scope.defer(this.#clock.every(this.#validityMs / 3, () => this.#renewAll()))
    this.#scope.defer(this.#clock.every(this.#validityMs / 30, () => this.#expire()))
  }

  get counts(): { readonly topics: number; readonly members: number } {
    return { topics: this.#table.topicCount, members: this.#table.memberCount }
  }

  topics(): ReadonlyArray<{ readonly topicId: TopicId; readonly members: number }> {
    return this.#table
      .topics()
      .map(topicId => ({ topicId, members: this.#table.members(topicId).length }))
      .filter(({ members }) => members > 0)
  }

  members(topicId: TopicId): readonly MemberRecord[] {
    return this.#table.members(topicId).map(entry => entry.record)
  }

  own(topicId: TopicId): Uint8Array | undefined {
    return this.#own.get(topicId)?.envelope
  }

  async enter(topic: Topic, name: string | undefined): Promise<void> {
    this.#throwIfClosed()
    await this.#signOwn(topic.id, topic.key, name)
  }

  async exit(topicId: TopicId, holders: readonly PeerId[]): Promise<void> {
    const own = this.#own.get(topicId)
    if (own === undefined) return
    this.#own.delete(topicId)
    const goodbye = await this.#sign(own.topicKey, undefined, true)
    const frame: TopicFrame = { update: { topic: own.topicKey, envelope: goodbye.envelope } }
    const told = new Set<PeerId>()
    for (const link of this.#linksSharing(topicId)) {
      link.send(frame)
      link.shared.delete(topicId)
      told.add(link.peerId)
    }
    await Promise.all(
      holders
        .filter(peerId => !told.has(peerId) && this.#needs.node.isConnected(peerId))
        .map(async peerId => {
          const link = await this.#openLink(peerId, [frame])
          link.shared.delete(topicId)
        })
    ).catch(thrown => this.#log.debug({ err: thrown }, 'a holder of our provider record did not hear the goodbye'))
    if (this.#keepsEveryTopic) return
    for (const { record } of this.#table.members(topicId)) this.#table.remove(topicId, record.peerId)
  }

  async greet(peerId: PeerId, topic: Pick<Topic, 'id' | 'key'>, signal?: AbortSignal): Promise<void> {
    this.#throwIfClosed()
    const envelope = this.#own.get(topic.id)?.envelope
    const hello: TopicFrame = { hello: { topic: topic.key, ...(envelope === undefined ? {} : { envelope }) } }
    const open = this.#linkTo(peerId)
    const link = open ?? (await this.#openLink(peerId, [hello]))
    const underWay = link.pending.get(topic.id)
    const answer = underWay ?? Promise.withResolvers<void>()
    link.pending.set(topic.id, answer)
    link.shared.add(topic.id)
    if (open !== undefined && underWay === undefined) link.send(hello)
    using limit = deadline(HELLO_TIMEOUT_MS, `HELLO to ${peerId}`, this.signal, signal)
    try {
      await raceSignal(answer.promise, limit.signal)
    } finally {
      if (link.pending.get(topic.id) === answer) link.pending.delete(topic.id)
    }
  }

  confirm(topicId: TopicId, peerId: PeerId): void {
    const entry = this.#table.member(topicId, peerId)
    if (entry === undefined) return
    this.#table.apply(entry.record, { kind: 'direct' })
    this.emit('live', entry.record)
  }

  async admit(peerId: PeerId, topicId: TopicId, envelope: Uint8Array): Promise<void> {
    if (!this.#holds(topicId)) throw new MusterError('not-a-member', 'this node is not in the topic')
    const record = await this.#opened(envelope)
    if (record.peerId !== peerId || record.topicId !== topicId) throw new MusterError('protocol-violation', 'a record of another member')
    await this.#learn(record, { kind: 'direct' }, undefined)
    if (this.#table.member(topicId, peerId) === undefined) throw new MusterError('not-a-member', 'the sender has left')
  }

  async follow(peerId: PeerId): Promise<void> {
    this.#upstreams.add(peerId)
    await Promise.all(this.#table.topics().map(topicId => this.#shareUpstream(peerId, topicId)))
  }

  /** Brings back what an earlier run knew; members that do not come back by themselves are checked. */
  async remember(): Promise<void> {
    const { rows } = this.#needs
    if (rows === undefined) return
    for await (const { envelope, discard } of rows.all()) {
      try {
        const record = await openRecord(envelope, this.#needs.unseal, this.#clock.now())
        if (record.peerId !== this.#needs.node.peerId) this.#table.apply(record, { kind: 'remembered' })
      } catch (thrown) {
        this.#log.debug({ err: thrown }, 'a remembered member record is dropped')
        await discard()
      }
    }
    if (!this.#keepsEveryTopic) return
    const undo = this.#clock.after(RESTART_GRACE_MS, () => {
      for (const topicId of this.#table.topics()) {
        for (const { record, source } of this.#table.members(topicId)) {
          if (source.kind === 'remembered') this.#suspects.check(record.peerId)
        }
      }
    })
    this.#scope.defer(undo)
  }

  close(): Promise<void> {
    this.#scope.defer(async () => {
      const links = [...this.#links.values()].flatMap(set => [...set])
      await Promise.all(links.map(link => link.channel.close()))
    })
    return this.#scope.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // — links —

  #linkTo(peerId: PeerId): Link | undefined {
    return [...(this.#links.get(peerId) ?? [])].find(link => link.isOpen)
  }

  async #openLink(peerId: PeerId, first: readonly TopicFrame[]): Promise<Link> {
    const channel = await this.#needs.node.open(peerId, TOPIC_PROTOCOL, {
      maxFrameBytes: MAX_TOPIC_FRAME_BYTES,
      signal: this.signal,
      first: first.map(frame => topicFrameCodec.encode(frame))
    })
    for (const frame of first) this.#counted(kindOf(frame), 'out')
    const link = this.#addLink(channel)
    void this.#serve(link)
    return link
  }

  #addLink(channel: Channel): Link {
    const link = new Link(channel, this.#clock.now(), kind => this.#counted(kind, 'out'))
    const links = this.#links.get(channel.peerId) ?? new Set()
    this.#links.set(channel.peerId, links)
    links.add(link)
    return link
  }

  /** Reads one link until it ends. */
  async #serve(link: Link): Promise<void> {
    try {
      for await (const bytes of link.channel.frames) {
        if (!link.mayReceive(this.#clock.now())) {
          this.#needs.metrics?.increment('muster_topic_rejected_total', { reason: 'rate' })
          throw new MusterError('limit-reached', 'too many topic frames')
        }
        const frame = topicFrameCodec.decode(bytes)
        this.#counted(kindOf(frame), 'in')
        await this.#handle(link, frame)
      }
      await link.channel.close()
    } catch (thrown) {
      const error = asMusterError(thrown, 'closed')
      if (error instanceof RejectedRecord) this.#rejected(error)
      this.#log.debug({ err: error, peerId: link.peerId }, 'topic stream ended')
      link.channel.abort(error)
      link.fail(error)
    } finally {
      link.fail(new MusterError('closed', 'the topic stream ended'))
      this.#dropLink(link)
    }
  }

  #dropLink(link: Link): void {
    const links = this.#links.get(link.peerId)
    links?.delete(link)
    if (links?.size !== 0) return
    this.#links.delete(link.peerId)
    this.#upstreams.delete(link.peerId)
    if (this.signal.aborted) return
    this.emit('unlinked', { peerId: link.peerId })
    this.#suspects.check(link.peerId)
    this.#suspects.checkVouchedBy(link.peerId)
  }

  #linksSharing(topicId: TopicId): Link[] {
    return [...this.#links.values()].flatMap(set => [...set].find(link => link.isOpen && link.shared.has(topicId)) ?? [])
  }

  // — frames —

  async #handle(link: Link, frame: TopicFrame): Promise<void> {
    const { hello, members, update, lost, refusal, unwatch } = frame
    if (hello !== undefined) await this.#onHello(link, hello)
    else if (members !== undefined) await this.#onMembers(link, members)
    else if (update !== undefined) await this.#onUpdate(link, update)
    else if (lost !== undefined) this.#onLost(link, lost)
    else if (refusal !== undefined) this.#onRefusal(link, refusal)
    else if (unwatch !== undefined) link.shared.delete(topicIdOf(unwatch.topic))
  }

  async #onHello(link: Link, { topic, envelope }: NonNullable<TopicFrame['hello']>): Promise<void> {
    const topicId = topicIdOf(topic)
    if (!this.#holds(topicId)) return link.send({ refusal: { topic, code: 'not-a-member' } })
    if (!link.shared.has(topicId) && link.shared.size >= MAX_TOPICS) {
      this.#needs.metrics?.increment('muster_topic_rejected_total', { reason: 'limit' })
      return link.send({ refusal: { topic, code: 'limit-reached' } })
    }
    let sequence = 0
    if (envelope !== undefined) {
      const record = await this.#opened(envelope)
      sequence = record.sequence
      if (record.peerId !== link.peerId || record.topicId !== topicId) {
        throw new MusterError('protocol-violation', 'a HELLO with the record of another member')
      }
      const applied = await this.#learn(record, { kind: 'direct' }, link)
      if (applied === 'full') return link.send({ refusal: { topic, code: 'limit-reached' } })
    }
    link.shared.add(topicId)
    link.send({ members: this.#answer(topicId, topic, link.peerId, sequence) })
  }

  #answer(topicId: TopicId, topic: Uint8Array, asker: PeerId, sequence: number): NonNullable<TopicFrame['members']> {
    const own = this.#own.get(topicId)
    const isLive = (entry: Entry): boolean => entry.source.kind === 'direct' && this.#needs.node.isConnected(entry.record.peerId)
    const room = MAX_MEMBERS_PER_ANSWER - (own === undefined ? 0 : 1)
    const others = this.#table.sample(topicId, room, this.#needs.random ?? systemRandom, isLive)
    const told = others.filter(({ record }) => record.peerId !== asker)
    // a newer record of the asker's than the one it sent: it has to catch up
    const newer = this.#table.entry(topicId, asker)
    return {
      topic,
      entries: [
        ...(own === undefined ? [] : [{ envelope: own.envelope, isLive: true }]),
        ...told.map(entry => ({ envelope: entry.record.envelope, isLive: isLive(entry) })),
        ...(newer === undefined || newer.record.sequence <= sequence ? [] : [{ envelope: newer.record.envelope }])
      ].slice(0, MAX_MEMBERS_PER_ANSWER),
      total: this.#table.members(topicId).length + (own === undefined ? 0 : 1)
    }
  }

  async #onMembers(link: Link, { topic, entries, total = 0 }: NonNullable<TopicFrame['members']>): Promise<void> {
    const topicId = topicIdOf(topic)
    const pending = link.pending.get(topicId)
    if (pending === undefined) throw new MusterError('protocol-violation', 'an answer nobody asked for')
    link.pending.delete(topicId)
    const named = new Set<PeerId>()
    for (const { envelope, isLive = false } of entries) {
      const record = await this.#learnEnvelope(envelope, link, isLive)
      if (record !== undefined) named.add(record.peerId)
    }
    pending.resolve()
    if (total > entries.length) return
    // whom we know and it does not: so that two halves of a group become one
    for (const { record } of this.#table.members(topicId).slice(0, MAX_MEMBERS_PER_ANSWER)) {
      if (!named.has(record.peerId) && record.peerId !== link.peerId) link.send({ update: { topic, envelope: record.envelope } })
    }
  }

  async #onUpdate(link: Link, { topic, envelope }: NonNullable<TopicFrame['update']>): Promise<void> {
    const topicId = topicIdOf(topic)
    if (this.#holds(topicId)) {
      await this.#learnEnvelope(envelope, link, true)
      return
    }
    // not our topic: still, a goodbye deletes the provider record we may hold
    const record = await this.#opened(envelope)
    if (record.left) await this.#needs.node.dht.forget(record.topicKey, record.peerId)
  }

  #onLost(link: Link, { topic, peerId }: NonNullable<TopicFrame['lost']>): void {
    const topicId = topicIdOf(topic)
    const entry = this.#table.member(topicId, peerId)
    if (entry === undefined) return
    if (this.#needs.node.isConnected(peerId)) {
      if (entry.source.kind === 'direct') link.send({ update: { topic, envelope: entry.record.envelope } }) // we still see it
      return
    }
    if (entry.source.kind === 'vouched' && entry.source.by === link.peerId) this.#lose(topicId, peerId)
    else this.#suspects.check(peerId)
  }

  #onRefusal(link: Link, { topic, code }: NonNullable<TopicFrame['refusal']>): void {
    const topicId = topicIdOf(topic)
    link.shared.delete(topicId)
    const isMember = code !== 'not-a-member'
    if (!isMember && this.#table.member(topicId, link.peerId) !== undefined) this.#lose(topicId, link.peerId)
    link.pending.get(topicId)?.reject(new MusterError(isMember ? 'limit-reached' : 'not-a-member', 'the peer is not in the topic'))
    link.pending.delete(topicId)
  }

  // — records —

  /** Learns a record that came from a neighbour. Old news costs no signature check. */
  async #learnEnvelope(envelope: Uint8Array, link: Link, isVouched: boolean): Promise<MemberRecord | undefined> {
    try {
      const claimed = peekRecord(envelope)
      if (claimed.peerId === this.#needs.node.peerId) {
        await this.#catchUp(envelope, claimed)
        return claimed
      }
      if (claimed.peerId !== link.peerId && this.#table.isStale(claimed)) return claimed
      const record = await this.#opened(envelope)
      const isDirect = record.peerId === link.peerId && !record.left
      await this.#learn(record, isDirect ? { kind: 'direct' } : { kind: 'vouched', by: link.peerId }, link, isVouched)
      return record
    } catch (thrown) {
      if (!(thrown instanceof RejectedRecord)) throw thrown
      this.#rejected(thrown)
      return undefined
    }
  }

  async #learn(record: MemberRecord, source: Source, from: Link | undefined, isVouched = false): Promise<Applied> {
    if (!this.#holds(record.topicId)) return 'stale'
    const isNewTopic = this.#table.members(record.topicId).length === 0
    const applied = this.#table.apply(record, source)
    if (applied === 'full') this.#needs.metrics?.increment('muster_topic_rejected_total', { reason: 'limit' })
    if (applied === 'stale' || applied === 'full') {
      const known = this.#table.member(record.topicId, record.peerId)
      if (source.kind === 'direct' && known?.record.sequence === record.sequence) this.emit('live', record)
      return applied
    }
    await this.#needs.rows?.put(record)
    if (applied === 'left') {
      this.#left(record, 'goodbye')
      await this.#needs.node.dht.forget(record.topicKey, record.peerId)
    } else if (source.kind === 'direct') this.emit('live', record)
    else this.emit('heard', { record, isVouched })
    this.#tell(record.topicId, { update: { topic: record.topicKey, envelope: record.envelope } }, from?.peerId, record.peerId)
    if (isNewTopic && this.#keepsEveryTopic) {
      for (const upstream of this.#upstreams) if (upstream !== from?.peerId) void this.#shareUpstream(upstream, record.topicId)
    }
    return applied
  }

  async #opened(envelope: Uint8Array): Promise<MemberRecord> {
    return await openRecord(envelope, this.#needs.unseal, this.#clock.now())
  }

  /** A record of ours that is newer than what we say: from before a restart, with a clock that went back. */
  async #catchUp(envelope: Uint8Array, claimed: MemberRecord): Promise<void> {
    const own = this.#own.get(claimed.topicId)
    if (own === undefined || claimed.sequence < own.sequence || claimed.sequence - own.sequence === 0) return
    const record = await this.#opened(envelope)
    this.#lastSequence = Math.max(this.#lastSequence, record.sequence)
    await this.#renew(own)
  }

  #lose(topicId: TopicId, peerId: PeerId): void {
    if (this.#table.member(topicId, peerId) === undefined) return
    const entry = this.#table.remove(topicId, peerId)
    if (entry === undefined) return
    const { record } = entry
    // a bootstrap forgets it; a peer keeps the row as an address to try when nobody else is left
    if (this.#keepsEveryTopic) void this.#needs.rows?.delete(record).catch(thrown => this.#log.error({ err: thrown }, 'row not deleted'))
    this.#left(record, 'lost')
    this.#tell(topicId, { lost: { topic: record.topicKey, peerId } }, peerId)
  }

  #left(record: MemberRecord, reason: 'goodbye' | 'lost'): void {
    this.#needs.metrics?.increment('muster_members_left_total', { reason })
    this.emit('gone', { record, reason })
  }

  #tell(topicId: TopicId, frame: TopicFrame, ...except: ReadonlyArray<PeerId | undefined>): void {
    for (const link of this.#linksSharing(topicId)) if (!except.includes(link.peerId)) link.send(frame)
  }

  async #shareUpstream(peerId: PeerId, topicId: TopicId): Promise<void> {
    const [entry] = this.#table.members(topicId)
    if (entry === undefined) return
    try {
      await this.greet(peerId, { id: topicId, key: entry.record.topicKey })
    } catch (thrown) {
      this.#log.debug({ err: thrown, peerId }, 'a bootstrap does not share a topic')
    }
  }

  #expire(): void {
    for (const { record } of this.#table.expire(this.#clock.now())) {
      void this.#needs.rows?.delete(record).catch(thrown => this.#log.error({ err: thrown }, 'row not deleted'))
      if (!record.left) this.#left(record, 'lost')
    }
  }

  #renewAll(): void {
    for (const own of this.#own.values()) {
      void this.#renew(own).catch(thrown => this.#log.error({ err: thrown }, 'own record not renewed'))
    }
  }

  async #renew(own: MemberRecord): Promise<void> {
    if (!this.#own.has(own.topicId) || this.signal.aborted) return
    const next = await this.#signOwn(own.topicId, own.topicKey, own.name)
    this.#tell(own.topicId, { update: { topic: own.topicKey, envelope: next.envelope } })
  }

  async #signOwn(topicId: TopicId, topicKey: Uint8Array, name: string | undefined): Promise<MemberRecord> {
    const record = await this.#sign(topicKey, name, false)
    this.#own.set(topicId, record)
    return record
  }

  async #sign(topicKey: Uint8Array, name: string | undefined, left: boolean): Promise<MemberRecord> {
    const now = this.#clock.now()
    const sequence = Math.max(now, this.#lastSequence + 1)
    this.#lastSequence = sequence
    const addresses = left ? [] : this.#needs.node.addresses
    return await signRecord(this.#needs.node, {
      topicKey,
      sequence,
      issuedMs: now,
      expiresMs: now + this.#validityMs,
      addresses,
      name,
      left
    })
  }

  #holds(topicId: TopicId): boolean {
    return this.#keepsEveryTopic || this.#own.has(topicId)
  }

  #counted(kind: FrameKind, direction: 'in' | 'out'): void {
    this.#needs.metrics?.increment('muster_topic_frames_total', { kind, direction })
  }

  #rejected({ reason }: RejectedRecord): void {
    this.#needs.metrics?.increment('muster_topic_rejected_total', { reason })
  }

  #throwIfClosed(): void {
    if (this.signal.aborted) throw new MusterError('closed', 'the roster is closed')
  }
}
