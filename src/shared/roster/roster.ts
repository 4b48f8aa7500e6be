import type { PeerAddress, PeerId } from '../core/address.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { MusterError } from '../core/errors.ts'
import { Emitter, type Subscribable } from '../core/events.ts'
import { type Closable, Scope } from '../core/lifecycle.ts'
import { type Log, silentLog } from '../core/log.ts'
import { type Random, systemRandom } from '../core/random.ts'
import { deadlineBy, raceSignal } from '../core/signals.ts'
import type { Topic, TopicId } from '../core/topic.ts'
import type { Node, Unseal } from '../node/port.ts'
import type { TopicFrame } from '../wire/topic.ts'
import { Ledger } from './ledger.ts'
import { ADDRESS_BOOK_MS, HELLO_TIMEOUT_MS, RECORD_VALIDITY_MS, REFOLLOW_MS, RESTART_GRACE_MS } from './limits.ts'
import type { FrameKind } from './link.ts'
import { Links } from './links.ts'
import { OwnRecords } from './own.ts'
import { type MemberRecord, openRecord, RejectedRecord, type RejectReason } from './record.ts'
import type { RosterRows } from './rows.ts'
import { Suspects } from './suspects.ts'
import { RosterTable } from './table.ts'
import { outdoes, Talk } from './talk.ts'
import { Upstreams } from './upstreams.ts'

export interface RosterEvents extends Record<string, unknown> {
  /** A member proved itself over its own connection. May come again for the same member. */
  live: MemberRecord
  /**
   * Somebody told us of a member we have not reached; `isVouched` when a neighbour says that it is there. `isAsked` when we
   * had asked: then the member was told of us in its turn, and waits for us to dial.
   */
  heard: { readonly record: MemberRecord; readonly isVouched: boolean; readonly isAsked: boolean }
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
  increment(name: 'muster_topic_rejected_total', labels: { readonly reason: RejectReason | 'limit' | 'rate' }): void
  increment(name: 'muster_members_left_total', labels: { readonly reason: 'goodbye' | 'lost' }): void
}

export interface RosterNeeds {
  readonly node: Pick<
    Node,
    'peerId' | 'addresses' | 'open' | 'handle' | 'isConnected' | 'connect' | 'on' | 'seal' | 'dht'
  >
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
  /** Where members of an earlier run were, whose records have expired since; a few, and rumours all. */
  remembered(topicId: TopicId): readonly PeerAddress[]
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
  /**
   * Verifies a record that a peer presented about itself.
   * @throws MusterError `not-a-member` | `limit-reached` | `protocol-violation`.
   */
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
  readonly #scope = new Scope()
  readonly #table = new RosterTable()
  readonly #own: OwnRecords
  readonly #links: Links
  readonly #ledger: Ledger
  readonly #suspects: Suspects
  readonly #upstreams: Upstreams
  readonly #renewing = new Map<TopicId, Promise<void>>()
  readonly #addressBook = new Map<TopicId, PeerAddress[]>()

  constructor(needs: RosterNeeds, options: RosterOptions) {
    super()
    const { node, metrics } = needs
    const validityMs = options.validityMs ?? RECORD_VALIDITY_MS
    this.#needs = needs
    this.#clock = needs.clock ?? systemClock
    this.#log = needs.log ?? silentLog
    this.#keepsEveryTopic = options.keepsEveryTopic ?? false
    this.signal = this.#scope.signal
    const shared = { node, table: this.#table, clock: this.#clock, log: this.#log, signal: this.signal }
    const holds = (topicId: TopicId): boolean => this.#holds(topicId)
    this.#own = new OwnRecords(node, this.#clock, validityMs)
    this.#ledger = new Ledger({
      ...shared,
      events: this,
      dht: node.dht,
      rows: needs.rows,
      metrics,
      keepsEveryTopic: this.#keepsEveryTopic,
      holds,
      tell: (...news) => this.#links.tell(...news),
      onTopic: ({ topicId }, from) => this.#upstreams.add(topicId, from)
    })
    this.#suspects = new Suspects({
      ...shared,
      greet: (peerId, topic) => this.greet(peerId, topic),
      lose: (...member) => this.#ledger.lose(...member)
    })
    this.#upstreams = new Upstreams({ ...shared, greet: (peerId, topic) => this.greet(peerId, topic) })
    const onRejected = ({ reason }: RejectedRecord): void =>
      metrics?.increment('muster_topic_rejected_total', { reason })
    const talk = new Talk({
      ...shared,
      ledger: this.#ledger,
      own: this.#own,
      suspects: this.#suspects,
      random: needs.random ?? systemRandom,
      keepsEveryTopic: this.#keepsEveryTopic,
      now: () => this.#clock.now(),
      holds,
      trusts: (...neighbour) => this.#links.trusts(...neighbour),
      opened: envelope => this.#opened(envelope),
      catchUp: (envelope, claimed) => this.#catchUp(envelope, claimed),
      onRejected,
      onFull: () => metrics?.increment('muster_topic_rejected_total', { reason: 'limit' })
    })
    this.#links = new Links({
      ...shared,
      onFrame: (link, frame) => talk.handle(link, frame),
      onUnlinked: peerId => this.#onUnlinked(peerId),
      onBroken: error => error instanceof RejectedRecord && onRejected(error),
      onTooFast: () => metrics?.increment('muster_topic_rejected_total', { reason: 'rate' }),
      count: (kind, direction) => metrics?.increment('muster_topic_frames_total', { kind, direction })
    })
    // who has left a topic does not tell us any more when those it vouched for do
    this.on('gone', ({ record }) => this.#suspects.checkVouchedBy(record.peerId, record.topicId))
    this.#scope.defer(this.#links.serve())
    this.#scope.defer(
      node.on('disconnect', ({ peerId }) => {
        this.#upstreams.drop(peerId)
        this.#suspects.check(peerId)
      })
    )
    this.#scope.defer(node.on('addresses', () => this.#renewAll()))
    this.#scope.defer(
      this.#clock.every(validityMs / 30, () => {
        this.#ledger.expire(this.#clock.now())
        this.#renewAll(topicId => this.#own.isDue(topicId))
      })
    )
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

  remembered(topicId: TopicId): readonly PeerAddress[] {
    return this.#addressBook.get(topicId) ?? []
  }

  own(topicId: TopicId): Uint8Array | undefined {
    return this.#own.get(topicId)?.envelope
  }

  async enter(topic: Topic, name: string | undefined): Promise<void> {
    this.#throwIfClosed()
    await this.#own.enter(topic.key, name)
  }

  async exit(topicId: TopicId, holders: readonly PeerId[]): Promise<void> {
    const goodbye = await this.#own.leave(topicId)
    if (goodbye === undefined) return
    const frame: TopicFrame = { update: { topic: goodbye.topicKey, envelope: goodbye.envelope } }
    const told = new Set<PeerId>()
    for (const link of this.#links.sharing(topicId)) {
      link.send(frame)
      link.unshare(topicId)
      told.add(link.peerId)
    }
    const untold = holders.filter(peerId => !told.has(peerId) && this.#needs.node.isConnected(peerId))
    await Promise.allSettled(untold.map(peerId => this.#tellHolder(peerId, frame)))
    if (!this.#keepsEveryTopic) await this.#ledger.leave(topicId)
  }

  async greet(peerId: PeerId, topic: Pick<Topic, 'id' | 'key'>, signal?: AbortSignal): Promise<void> {
    this.#throwIfClosed()
    using limit = deadlineBy(this.#clock, HELLO_TIMEOUT_MS, `HELLO to ${peerId}`, this.signal, signal)
    await raceSignal(this.#ask(peerId, topic), limit.signal)
  }

  confirm(topicId: TopicId, peerId: PeerId): void {
    this.#ledger.confirm(topicId, peerId)
  }

  async admit(peerId: PeerId, topicId: TopicId, envelope: Uint8Array): Promise<void> {
    if (!this.#holds(topicId)) throw new MusterError('not-a-member', 'this node is not in the topic')
    const record = await this.#opened(envelope)
    if (record.peerId !== peerId || record.topicId !== topicId) {
      throw new MusterError('protocol-violation', 'a record of another member')
    }
    const applied = await this.#ledger.learn(record, { kind: 'direct' })
    if (applied === 'full') throw new MusterError('limit-reached', 'the roster is full')
    if (this.#table.member(topicId, peerId) === undefined) throw new MusterError('not-a-member', 'the sender has left')
  }

  async follow(peerId: PeerId): Promise<void> {
    await this.#upstreams.follow(peerId)
  }

  /** Brings back what an earlier run knew; members that do not come back by themselves are checked. */
  async remember(): Promise<void> {
    const { rows, node } = this.#needs
    if (rows === undefined) return
    for await (const { envelope, discard } of rows.all()) {
      const isKept = await this.#recall(envelope).catch(thrown => {
        this.#log.debug({ err: thrown }, 'a remembered member record is dropped')
        return false
      })
      if (!isKept) await discard()
    }
    if (!this.#keepsEveryTopic) return
    const undo = this.#clock.after(RESTART_GRACE_MS, () => {
      for (const topicId of this.#table.topics()) {
        for (const { record, source } of this.#table.members(topicId)) {
          if (source.kind === 'remembered' && record.peerId !== node.peerId) this.#suspects.check(record.peerId)
        }
      }
    })
    this.#scope.defer(undo)
  }

  close(): Promise<void> {
    this.#scope.defer(() => this.#links.close())
    return this.#scope.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Sends a HELLO, unless the same one is still to be answered, and waits for the answer. */
  async #ask(peerId: PeerId, topic: Pick<Topic, 'id' | 'key'>): Promise<void> {
    // after a suspend, or when the clock was set, it has expired or is of a time to come: nobody would take it
    if (this.#own.isDue(topic.id)) await this.#renewOnce(topic.id)
    const said = this.#own.get(topic.id)
    const underWay = this.#links.to(peerId)?.awaited(topic.id, said?.envelope)
    if (underWay !== undefined) return await underWay
    const hello: TopicFrame = {
      hello: { topic: topic.key, ...(said === undefined ? {} : { envelope: said.envelope }) }
    }
    let answer: Promise<void> | undefined
    const link = await this.#links.say(peerId, hello, each => {
      answer = each.expect(topic.id, said?.envelope)
    })
    const now = this.#own.get(topic.id) ?? this.#own.farewell(topic.id)
    if (said !== undefined && now !== undefined && now !== said) {
      // renewed or left while the stream was being opened: what we said first is old already
      link.send({ update: { topic: topic.key, envelope: now.envelope } })
      if (now.left) link.unshare(topic.id)
    }
    await answer
  }

  async #tellHolder(peerId: PeerId, frame: TopicFrame): Promise<void> {
    try {
      const link = await this.#links.say(peerId, frame)
      if (link.shared.size === 0 && !link.channel.inbound) await link.close(this.#clock)
    } catch (thrown) {
      this.#log.debug({ err: thrown, peerId }, 'a holder of our provider record did not hear the goodbye')
    }
  }

  async #recall(envelope: Uint8Array): Promise<boolean> {
    const now = this.#clock.now()
    const { unseal, node } = this.#needs
    try {
      const record = await openRecord(envelope, unseal, now)
      if (record.peerId === node.peerId) return false
      return this.#table.apply(record, { kind: 'remembered' }) !== 'full'
    } catch (thrown) {
      if (!(thrown instanceof RejectedRecord) || thrown.reason !== 'expired' || this.#keepsEveryTopic) throw thrown
    }
    const past = await openRecord(envelope, unseal, now, ADDRESS_BOOK_MS)
    const { topicId, peerId, addresses } = past
    if (past.left || addresses.length === 0 || !this.#ledger.keepsInBook({ topicId, peerId })) return false
    this.#addressBook.set(topicId, [...this.remembered(topicId), { peerId, addresses }])
    return true
  }

  #onUnlinked(peerId: PeerId): void {
    this.emit('unlinked', { peerId })
    this.#suspects.check(peerId)
    this.#suspects.checkVouchedBy(peerId)
    if (!this.#upstreams.has(peerId)) return
    this.#clock.after(REFOLLOW_MS, () => {
      if (!this.signal.aborted && this.#upstreams.has(peerId)) void this.follow(peerId)
    })
  }

  async #opened(envelope: Uint8Array): Promise<MemberRecord> {
    return await openRecord(envelope, this.#needs.unseal, this.#clock.now())
  }

  /** A record of ours that is newer than what we say: from before a restart, with a clock that went back. */
  async #catchUp(envelope: Uint8Array, claimed: MemberRecord): Promise<void> {
    const own = this.#own.get(claimed.topicId)
    if (own === undefined || !outdoes(claimed, own.sequence)) return
    // ours for certain when the signature holds, whatever our clock thinks of its time
    const record = await openRecord(envelope, this.#needs.unseal, claimed.issuedMs)
    this.#own.outdo(record.sequence)
    await this.#renew(claimed.topicId)
  }

  #renewAll(isWanted: (topicId: TopicId) => boolean = () => true): void {
    for (const topicId of this.#own.topics().filter(isWanted)) {
      void this.#renew(topicId).catch(thrown => this.#log.error({ err: thrown }, 'own record not renewed'))
    }
  }

  async #renew(topicId: TopicId): Promise<void> {
    const next = this.signal.aborted ? undefined : await this.#own.renew(topicId)
    if (next !== undefined) this.#links.tell(topicId, { update: { topic: next.topicKey, envelope: next.envelope } })
  }

  /** One renewal for all who want to say HELLO at once. */
  async #renewOnce(topicId: TopicId): Promise<void> {
    const renewing = this.#renewing.get(topicId) ?? this.#renew(topicId).finally(() => this.#renewing.delete(topicId))
    this.#renewing.set(topicId, renewing)
    await renewing
  }

  #holds(topicId: TopicId): boolean {
    return this.#keepsEveryTopic || this.#own.get(topicId) !== undefined
  }

  #throwIfClosed(): void {
    if (this.signal.aborted) throw new MusterError('closed', 'the roster is closed')
  }
}
