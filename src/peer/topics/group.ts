import type { PeerAddress, PeerId } from '../../shared/core/address.ts'
import { asMusterError, isMusterError, MusterError } from '../../shared/core/errors.ts'
import { Emitter } from '../../shared/core/events.ts'
import { Scope, type Undo } from '../../shared/core/lifecycle.ts'
import type { Topic } from '../../shared/core/topic.ts'
import type { MemberRecord } from '../../shared/roster/record.ts'
import type {
  AskOptions,
  AskResult,
  BroadcastOptions,
  BroadcastResult,
  ByteStream,
  Group,
  GroupEvents,
  HistoryOptions,
  LeaveReason,
  Member,
  Message,
  OpenStreamOptions,
  Receipt,
  SendOptions,
  Value
} from '../api.ts'
import { type Announcement, announceTopic } from './announce.ts'
import { type Delivery, DirectMessages } from './direct.ts'
import { sayGoodbye } from './goodbye.ts'
import { Greeter } from './greeter.ts'
import { GroupHistory } from './group-history.ts'
import type { GroupNeeds, GroupOptions } from './group-needs.ts'
import {
  isLive,
  type KnownMember,
  MAX_MESH,
  makeRoom,
  memberOf,
  meshSize,
  planMesh,
  reachPauseMs,
  yieldMs
} from './mesh.ts'

/** Milliseconds a bootstrap may take to answer before members of an earlier run are dialled. */
const REMEMBERED_AFTER_MS = 1_000

/** One topic this peer is in. Members are proven: shown once their signed record is verified and they were reached. */
export class TopicGroup extends Emitter<GroupEvents> implements Group {
  readonly topic: string
  readonly topicId: string
  readonly signal: AbortSignal
  readonly #topic: Topic
  readonly #needs: GroupNeeds
  readonly #options: GroupOptions
  readonly #scope = new Scope()
  readonly #known = new Map<PeerId, KnownMember>()
  readonly #maxMesh: number
  readonly #history: GroupHistory
  readonly #greeter: Greeter
  readonly #direct: DirectMessages
  #announcement: Announcement | undefined
  #undoNextPlan: (() => void) | undefined

  constructor(topic: Topic, needs: GroupNeeds, options: GroupOptions) {
    super()
    this.topic = topic.name
    this.topicId = topic.id
    this.signal = this.#scope.signal
    this.#topic = topic
    this.#needs = needs
    this.#options = options
    this.#maxMesh = options.maxMesh ?? MAX_MESH
    this.#greeter = new Greeter({ ...needs, topic, signal: this.signal, onMismatch: options.onMismatch })
    this.#direct = new DirectMessages({
      topic,
      messenger: needs.messaging,
      signal: this.signal,
      members: () => this.members(),
      member: peerId => {
        const known = this.#known.get(peerId)
        return known && { name: known.record.name, isShown: known.isShown }
      },
      receiver: member => this.#receiver(member, 'the message was not sent'),
      offer: message => (this.listenerCount('message') === 0 ? undefined : this.offer('message', message))
    })
    this.#history = new GroupHistory(topic, needs, this)
  }

  /** Enters the roster, and starts to look for others; nothing is waited for that needs the network. */
  async enter(): Promise<void> {
    const { roster, broadcasts, node, clock, log } = this.#needs
    await roster.enter(this.#topic, this.#options.name)
    this.#scope.defer(() => this.#options.onClosed())
    this.#scope.defer(() => this.#undoNextPlan?.())
    this.#scope.defer(broadcasts.enter(this.#topic, this))
    this.#scope.defer(roster.on('live', record => this.#onLive(record)))
    this.#scope.defer(roster.on('heard', ({ record, isVouched, isAsked }) => this.#onHeard(record, isVouched, isAsked)))
    this.#scope.defer(roster.on('gone', ({ record, reason }) => this.#onGone(record, reason)))
    if (this.#options.usesRoster) {
      this.#scope.defer(this.#greeter.followBootstraps())
      this.#scope.defer(clock.after(REMEMBERED_AFTER_MS, () => this.#recall()))
    }
    const { history = 0 } = this.#options
    if (history > 0) this.#scope.defer(this.#history.follow(history))
    this.#scope.defer(() => this.#depart())
    this.#announcement = announceTopic(
      {
        node,
        topic: this.#topic,
        clock,
        log,
        onCandidate: candidate => void this.#tryCandidate(candidate),
        hasMembers: () => [...this.#known.values()].some(member => member.state === 'live')
      },
      this.#options.providerValidityMs
    )
  }

  members(): readonly Member[] {
    if (this.signal.aborted) return []
    return [...this.#known.values()].filter(member => member.isShown).map(memberOf)
  }

  send(member: Member | PeerId, value: Value, options?: SendOptions): Promise<Receipt> {
    return this.#direct.send(member, value, options)
  }

  ask(member: Member | PeerId, value: Value, options?: AskOptions): Promise<Message> {
    return this.#direct.ask(member, value, options)
  }

  askMany(
    members: 'all' | ReadonlyArray<Member | PeerId>,
    value: Value,
    options?: AskOptions
  ): AsyncIterable<AskResult> {
    return this.#direct.askMany(members, value, options)
  }

  async openStream(member: Member | PeerId, name: string, options: OpenStreamOptions = {}): Promise<ByteStream> {
    const to = this.#receiver(member, 'no stream was opened')
    return await this.#needs.streams.open(this.#topic, to, name, options)
  }

  onStream(name: string, handler: (stream: ByteStream) => void | Promise<void>): Undo {
    if (this.signal.aborted) throw new MusterError('closed', `the group ${JSON.stringify(this.topic)} was left`)
    return this.#needs.streams.handle(this.#topic, name, handler)
  }

  async broadcast(value: Value, options?: BroadcastOptions): Promise<BroadcastResult> {
    if (this.signal.aborted) throw new MusterError('closed', `the group ${JSON.stringify(this.topic)} was left`)
    return await this.#needs.broadcasts.say(this.#topic, this, value, options)
  }

  async history(options?: HistoryOptions): Promise<readonly Message[]> {
    return await this.#history.read(options)
  }

  /** True the first time, whichever way a broadcast came. */
  isNew(author: PeerId, sequence: number): boolean {
    return this.#history.isNew(author, sequence)
  }

  /** Hands a message that came for this group to whoever listens. */
  deliver(delivery: Delivery): void | Promise<void> {
    return this.#direct.deliver(delivery)
  }

  /** True also of those that are not shown, because they are lost or were not reached so far. */
  knows(peerId: PeerId): boolean {
    return this.#known.has(peerId)
  }

  /** Makes sure there is a connection to a member, for messages to one outside the mesh, or to one that is away. */
  async reach(peerId: PeerId, signal: AbortSignal): Promise<void> {
    const known = this.#known.get(peerId)
    if (known === undefined) throw new MusterError('not-a-member')
    if (!known.isShown) return await this.#reachAgain(known)
    await this.#needs.node.connect({ peerId, addresses: known.record.addresses }, { signal })
    this.#needs.roster.confirm(this.#topic.id, peerId)
  }

  /** The member that is meant; one that was listed only so far, though there is a connection by now, counts as live. */
  #receiver(member: Member | PeerId, failed: string): PeerId {
    const to = typeof member === 'string' ? member : member.peerId
    const known = this.#known.get(to)
    if (this.signal.aborted || known?.isShown !== true) {
      const topic = JSON.stringify(this.topic)
      if (this.signal.aborted) throw new MusterError('closed', `the group ${topic} was left; ${failed}`)
      throw new MusterError('not-a-member', `${to} is not a member of ${topic}; ${failed}`)
    }
    if (!isLive(known) && this.#needs.node.isConnected(to)) this.#needs.roster.confirm(this.topicId, to)
    return to
  }

  leave(): Promise<void> {
    return this.close()
  }

  close(): Promise<void> {
    return this.#scope.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #depart(): Promise<void> {
    const { messaging, streams } = this.#needs
    const closed = this.#announcement?.close()
    await sayGoodbye(this.#topic, this.#announcement, this.#needs)
    await Promise.all([messaging.forget(this.#topic.id), streams.forget(this.#topic.id), closed])
  }

  // — finding —

  /** Nobody answered so far: whoever was here before the restart may still be at the same address. */
  #recall(): void {
    if (this.#known.size > 0) return
    for (const record of this.#needs.roster.members(this.#topic.id)) this.#onHeard(record, false, true)
    for (const candidate of this.#needs.roster.remembered(this.#topic.id)) void this.#tryCandidate(candidate)
  }

  /** A name from the DHT: its own record comes with its answer to our HELLO. */
  async #tryCandidate(candidate: PeerAddress): Promise<void> {
    const known = this.#known.get(candidate.peerId)
    if (known?.state === 'live' || known?.isBeingReached === true || candidate.peerId === this.#needs.node.peerId)
      return
    if (meshSize(this.#known) >= this.#maxMesh) return // members tell of it
    try {
      await this.#needs.node.connect(candidate, { signal: this.signal })
    } catch (thrown) {
      if (!this.signal.aborted)
        this.#needs.log.debug({ err: thrown, peerId: candidate.peerId }, 'a provider is not reachable')
      return
    }
    await this.#greeter.greet(candidate.peerId)
  }

  #onHeard(record: MemberRecord, isVouched: boolean, isAsked: boolean): void {
    if (record.topicId !== this.topicId || !this.#options.usesRoster) return
    const known = this.#known.get(record.peerId)
    const state = isVouched ? 'vouched' : isAsked ? 'rumour' : 'claimed'
    const retryAt = this.#needs.clock.now() + yieldMs(this.#needs.node.peerId, record.peerId, isAsked)
    if (known !== undefined) {
      known.record = record
      if (known.state !== 'live') {
        if (isVouched || known.state === 'lost' || known.state === 'claimed') known.state = state
        known.failures = 0
        known.retryAt = retryAt
      }
    } else if (makeRoom(this.#known, state)) this.#add(record, state).retryAt = retryAt
    this.#plan()
  }

  #onLive(record: MemberRecord): void {
    if (record.topicId !== this.topicId) return
    let known = this.#known.get(record.peerId)
    if (known === undefined) {
      makeRoom(this.#known, 'live')
      known = this.#add(record, 'live')
    }
    const isNews = known.state !== 'live' || !known.isShown
    known.record = record
    known.state = 'live'
    known.failures = 0
    known.isShown = true
    if (!isNews) return
    this.emit('member', memberOf(known))
    this.#needs.messaging.retry(this.topicId, record.peerId)
  }

  #onGone(record: MemberRecord, reason: LeaveReason): void {
    const known = this.#known.get(record.peerId)
    if (record.topicId !== this.topicId || known === undefined) return
    this.#needs.streams.drop(this.topicId, record.peerId, reason)
    const wasShown = known.isShown
    if (reason === 'goodbye') this.#known.delete(record.peerId)
    else {
      known.state = 'lost'
      known.isShown = false
      known.failures = 1
      known.retryAt = this.#needs.clock.now() + reachPauseMs(known.failures)
    }
    this.#needs.messaging.abandon(this.topicId, record.peerId)
    if (wasShown) this.emit('left', { peerId: record.peerId, name: record.name ?? known.record.name, reason })
    this.#plan() // a place in the mesh may be free
  }

  #add(record: MemberRecord, state: KnownMember['state']): KnownMember {
    const member: KnownMember = { record, state, isShown: false, isBeingReached: false, failures: 0, retryAt: 0 }
    this.#known.set(record.peerId, member)
    return member
  }

  #plan(): void {
    if (this.signal.aborted) return
    const { clock } = this.#needs
    const { reach, list, forget, nextAt } = planMesh(clock.now(), this.#known, this.#maxMesh)
    for (const peerId of forget) this.#known.delete(peerId)
    for (const peerId of reach) void this.#reachNow(peerId)
    for (const peerId of list) {
      const member = this.#known.get(peerId)
      if (member === undefined) continue
      member.isShown = true
      this.emit('member', memberOf(member))
      this.#needs.messaging.retry(this.topicId, peerId)
    }
    this.#undoNextPlan?.()
    this.#undoNextPlan =
      nextAt === undefined ? undefined : clock.after(Math.max(0, nextAt - clock.now()), () => this.#plan())
  }

  /** One that is not shown has to prove that it is in the topic still. */
  async #reachAgain(member: KnownMember): Promise<void> {
    if (!member.isBeingReached) await this.#reachNow(member.record.peerId)
    if (!isLive(member)) throw new MusterError('unreachable')
  }

  async #reachNow(peerId: PeerId): Promise<void> {
    const member = this.#known.get(peerId)
    if (member === undefined) return
    const { node, roster, clock } = this.#needs
    member.isBeingReached = true
    try {
      await node.connect({ peerId, addresses: member.record.addresses }, { signal: this.signal })
      if (this.#known.get(peerId) !== member) return
      roster.confirm(this.topicId, peerId) // shown now; should it no longer be in the topic, its refusal takes it out again
      const greeting = roster.greet(peerId, this.#topic, this.signal)
      if (isLive(member))
        greeting.catch(() => undefined) // the end of its stream makes the roster look after it
      else await greeting // no record of it counts any more: its own comes with the answer
      if (!isLive(member)) throw new MusterError('unreachable', 'the answer did not prove the member')
    } catch (thrown) {
      member.failures++
      member.retryAt = clock.now() + reachPauseMs(member.failures)
      const isPast = member.record.expiresMs <= clock.now() || isMusterError(thrown, 'not-a-member')
      if (isPast && !member.isShown && this.#known.get(peerId) === member) this.#known.delete(peerId)
      if (!this.signal.aborted)
        this.#needs.log.debug({ err: asMusterError(thrown, 'unreachable'), peerId }, 'member not reached')
    } finally {
      member.isBeingReached = false
      this.#plan()
    }
  }
}
