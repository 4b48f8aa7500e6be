import type { JoinOptions, Message, Value } from '../../src/peer/api.ts'
import { createBroadcasts } from '../../src/peer/broadcasts/broadcasts.ts'
import { createMessaging, type Messaging } from '../../src/peer/messaging/messaging.ts'
import { createStreams, type StreamsNeeds } from '../../src/peer/streams/streams.ts'
import { TopicGroup } from '../../src/peer/topics/group.ts'
import type { PeerId } from '../../src/shared/core/address.ts'
import type { Clock } from '../../src/shared/core/clock.ts'
import { MusterError } from '../../src/shared/core/errors.ts'
import { type Closable, Scope } from '../../src/shared/core/lifecycle.ts'
import { silentLog } from '../../src/shared/core/log.ts'
import { seededRandom } from '../../src/shared/core/random.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import { createFeed, type Feed } from '../../src/shared/gossip/feed.ts'
import { type OpenRecord, openBroadcast } from '../../src/shared/gossip/open.ts'
import type { OpenBroadcast } from '../../src/shared/history/ask.ts'
import { type History, openHistory } from '../../src/shared/history/history.ts'
import { FakeNetwork } from '../../src/shared/node/fake.ts'
import { FAKE_PROVIDER_VALIDITY_MS } from '../../src/shared/node/fake-dht.ts'
import { createIdentity, type Identity } from '../../src/shared/node/keys.ts'
import type { Node, Unseal } from '../../src/shared/node/port.ts'
import { openProof } from '../../src/shared/node/pubsub.ts'
import { createSupervisor, type Supervisor } from '../../src/shared/node/supervisor.ts'
import { openRecord } from '../../src/shared/roster/record.ts'
import { createRoster, type Roster, type RosterNeeds } from '../../src/shared/roster/roster.ts'
import { RosterRows } from '../../src/shared/roster/rows.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import type { Store } from '../../src/shared/store/port.ts'
import { codec } from '../../src/shared/wire/codec.ts'
import { EventClock, passTime } from './event-clock.ts'

/** What a group told its user, in order. */
export interface Told {
  readonly event: 'member' | 'left'
  readonly peerId: PeerId
  /** For `member`: verified. For `left`: the reason. */
  readonly detail: boolean | string
  readonly atMs: number
}

export interface FakeBootstrap {
  readonly node: Node
  readonly roster: Roster
  readonly address: string
  /** As `kill -9`. */
  kill(): Promise<void>
  close(): Promise<void>
}

export interface FakePeerOptions {
  readonly identity?: Identity
  /** Where it listens. */
  readonly address?: string
  /** Addresses it dials for ever. */
  readonly bootstrap?: readonly string[]
  readonly store?: Store
  readonly name?: string
  readonly usesRoster?: boolean
  /** Added to the clock of this node alone, in milliseconds; a function when it changes. Timers keep their pace. */
  readonly clockSkewMs?: number | (() => number)
  readonly maxMesh?: number
  /** Names of topics it keeps. */
  readonly keep?: readonly string[]
}

export interface FakePeer {
  readonly node: Node
  readonly roster: Roster
  readonly feed: Feed
  readonly messaging: Messaging
  readonly supervisor: Supervisor
  readonly peerId: PeerId
  readonly address: string
  readonly identity: Identity
  readonly store: Store
  readonly heard: Value[]
  /** The same as messages, with how they came. */
  readonly messages: Message[]
  join(topic?: string, options?: JoinOptions): Promise<TopicGroup>
  group(topic?: string): TopicGroup | undefined
  /** Peer ids shown in a topic, sorted. */
  sees(topic?: string): PeerId[]
  told(topic?: string): readonly Told[]
  kill(): Promise<void>
  close(): Promise<void>
}

/** Seals that cost nothing: here nobody forges, and a simulation signs a million records. */
const plainCodec = codec({
  signer: { id: 1, type: 'string', required: true },
  payload: { id: 3, type: 'bytes', required: true }
})
export const plainSeal = async (signer: PeerId, payload: Uint8Array): Promise<Uint8Array> =>
  plainCodec.encode({ signer, payload })
const plainUnseal: Unseal = async (_domain, envelope) => {
  const { signer, payload } = plainCodec.decode(envelope)
  return { peerId: signer, payload }
}

/** Peers and bootstraps as the programs put them together, on a network in memory. */
export class Village implements Closable {
  readonly clock: EventClock
  readonly network: FakeNetwork
  readonly #random: () => number
  readonly #scope = new Scope()
  #nextHost = 0

  constructor(seed = 1) {
    this.clock = new EventClock()
    this.#random = seededRandom(seed)
    this.network = new FakeNetwork({ clock: this.clock, random: this.#random })
  }

  get signal(): AbortSignal {
    return this.#scope.signal
  }

  close(): Promise<void> {
    return this.#close(this.#scope)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  newAddress(): string {
    const host = ++this.#nextHost
    return `/ip4/10.9.${host >> 8}.${host & 255}/tcp/7000`
  }

  async newIdentity(): Promise<Identity> {
    return await createIdentity(Uint8Array.from({ length: 32 }, () => Math.floor(this.#random() * 256)))
  }

  /** Lets `ms` of simulated time pass. */
  async pass(ms: number): Promise<void> {
    await passTime(this.clock, this.network, ms)
  }

  /** Simulated milliseconds until `holds`; fails after `withinMs`. */
  async until(sentence: string, withinMs: number, holds: () => boolean): Promise<number> {
    const start = this.clock.now()
    await this.network.settle()
    while (!holds()) {
      if (this.clock.now() - start >= withinMs) throw new Error(`not within ${withinMs} simulated ms: ${sentence}`)
      await this.pass(50)
    }
    return this.clock.now() - start
  }

  async bootstrap(
    options: Pick<FakePeerOptions, 'identity' | 'address' | 'bootstrap' | 'store' | 'keep' | 'clockSkewMs'> &
      Pick<RosterNeeds, 'metrics'> = {}
  ): Promise<FakeBootstrap> {
    const { bootstrap = [], store = memoryStore(), keep = [], clockSkewMs = 0 } = options
    const metrics = options.metrics === undefined ? {} : { metrics: options.metrics }
    const clock = this.#clockWith(clockSkewMs)
    const scope = new Scope()
    this.#scope.own(scope)
    const address = options.address ?? this.newAddress()
    const node = scope.own(
      await this.network.createNode({
        identity: options.identity ?? (await this.newIdentity()),
        address,
        store,
        answersAlone: true
      })
    )
    const roster = scope.own(
      await createRoster({ ...this.#rosterNeeds(node, store), ...metrics, clock }, { keepsEveryTopic: true })
    )
    const supervisor = scope.own(this.#supervisor(node, bootstrap))
    scope.defer(supervisor.on('up', ({ peerId }) => void roster.follow(peerId)))
    await this.#gossip(scope, node, roster, store, clock, keep)
    return { node, roster, address, kill: () => this.#kill(node, scope), close: () => this.#close(scope) }
  }

  async peer(options: FakePeerOptions = {}): Promise<FakePeer> {
    const {
      bootstrap = [],
      store = memoryStore(),
      name,
      usesRoster = true,
      clockSkewMs = 0,
      maxMesh,
      keep = []
    } = options
    const scope = new Scope()
    this.#scope.own(scope)
    const address = options.address ?? this.newAddress()
    const identity = options.identity ?? (await this.newIdentity())
    const clock = this.#clockWith(clockSkewMs)
    const node = scope.own(await this.network.createNode({ identity, address, store }))
    const roster = scope.own(await createRoster({ ...this.#rosterNeeds(node, store), clock }))
    const supervisor = scope.own(this.#supervisor(node, bootstrap))
    const groups = new Map<string, TopicGroup>()
    const told = new Map<string, Told[]>()
    const heard: Value[] = []
    const connect = async (peerId: PeerId, signal: AbortSignal): Promise<void> => {
      const joined = [...groups.values()]
      const group =
        joined.find(each => each.members().some(member => member.peerId === peerId)) ??
        joined.find(each => each.knows(peerId))
      if (group === undefined) throw new MusterError('not-a-member')
      await group.reach(peerId, signal)
    }
    const membership: StreamsNeeds['membership'] = {
      ownEnvelope: topicId => roster.own(topicId),
      admit: (topicId, peerId, envelope) => roster.admit(peerId, topicId, envelope)
    }
    const streams = scope.own(createStreams({ node, clock, connect, membership }))
    const messages: Message[] = []
    const messaging = scope.own(
      createMessaging({
        node,
        clock,
        connect,
        membership: {
          ...membership,
          isKnown: (topicId, peerId) =>
            [...groups.values()].some(group => group.topicId === topicId && group.knows(peerId))
        },
        deliver: ({ topicId, ...message }) => {
          const group = [...groups.values()].find(each => each.topicId === topicId)
          if (group === undefined) throw new MusterError('not-a-member')
          group.deliver({ ...message, via: 'direct' })
        }
      })
    )
    const { feed, history } = await this.#gossip(scope, node, roster, store, clock, keep)
    const broadcasts = scope.own(createBroadcasts({ node, feed, ownEnvelope: topicId => roster.own(topicId), clock }))
    scope.defer(() => Promise.all([...groups.values()].map(group => group.close())))
    return {
      node,
      roster,
      feed,
      messaging,
      supervisor,
      peerId: node.peerId,
      address,
      identity,
      store,
      heard,
      messages,
      join: async (topicName = 'lobby', joining = {}) => {
        const topic = await topicOf(topicName)
        const group: TopicGroup = new TopicGroup(
          topic,
          { node, roster, bootstraps: supervisor, messaging, streams, broadcasts, history, clock, log: silentLog },
          {
            name,
            usesRoster,
            ...joining,
            providerValidityMs: FAKE_PROVIDER_VALIDITY_MS,
            onMismatch: () => undefined,
            onClosed: () => groups.get(topicName) === group && groups.delete(topicName),
            ...(maxMesh === undefined ? {} : { maxMesh })
          }
        )
        groups.set(topicName, group)
        const list: Told[] = []
        told.set(topicName, list)
        group.on('member', ({ peerId, verified }) =>
          list.push({ event: 'member', peerId, detail: verified, atMs: this.clock.now() })
        )
        group.on('left', ({ peerId, reason }) =>
          list.push({ event: 'left', peerId, detail: reason, atMs: this.clock.now() })
        )
        group.on('message', message => messages.push(message))
        group.on('message', ({ value }) => heard.push(value))
        await group.enter()
        return group
      },
      group: (topicName = 'lobby') => groups.get(topicName),
      sees: (topicName = 'lobby') => (groups.get(topicName)?.members() ?? []).map(({ peerId }) => peerId).sort(),
      told: (topicName = 'lobby') => told.get(topicName) ?? [],
      kill: () => this.#kill(node, scope),
      close: () => this.#close(scope)
    }
  }

  /** Closes while time passes: what is said last has to arrive. */
  async #close(scope: Scope): Promise<void> {
    let isClosed = false
    const closing = scope.close().finally(() => {
      isClosed = true
    })
    closing.catch(() => undefined) // it is awaited once time has passed
    await this.network.settle()
    while (!isClosed) await this.pass(20)
    await closing
  }

  #clockWith(skewMs: number | (() => number)): Clock {
    return {
      now: () => this.clock.now() + (typeof skewMs === 'number' ? skewMs : skewMs()),
      monotonic: () => this.clock.monotonic(),
      after: (ms, run) => this.clock.after(ms, run),
      every: (ms, run) => this.clock.every(ms, run)
    }
  }

  async #gossip(
    scope: Scope,
    node: Node,
    roster: Roster,
    store: Store,
    clock: Clock,
    names: readonly string[]
  ): Promise<{ feed: Feed; history: History }> {
    const openRecordAt: OpenRecord = (envelope, atMs) => openRecord(envelope, plainUnseal, atMs)
    const { datastore } = store
    const feed = scope.own(await createFeed({ node, openRecord: openRecordAt, datastore, clock }))
    const keep = await Promise.all(names.map(async topicName => (await topicOf(topicName)).id))
    const open: OpenBroadcast = (proof, topicId) =>
      openBroadcast(proof, topicId, node.network, { openProof, openRecord: openRecordAt })
    const history = scope.own(await openHistory({ node, datastore, open, membership: roster, clock }, { keep }))
    for (const topicId of keep) scope.defer(feed.subscribe(topicId, broadcast => history.take(broadcast)))
    return { feed, history }
  }

  #rosterNeeds(node: Node, store: Store): RosterNeeds {
    return {
      node: {
        peerId: node.peerId,
        get addresses() {
          return node.addresses
        },
        dht: node.dht,
        open: (...rest) => node.open(...rest),
        handle: (...rest) => node.handle(...rest),
        isConnected: peerId => node.isConnected(peerId),
        connect: (...rest) => node.connect(...rest),
        on: (...rest) => node.on(...rest),
        seal: async (_domain, payload) => await plainSeal(node.peerId, payload)
      },
      unseal: plainUnseal,
      rows: new RosterRows(store.datastore),
      random: this.#random
    }
  }

  #supervisor(node: Node, addresses: readonly string[]): Supervisor {
    const known = new Map<string, PeerId>()
    return createSupervisor(
      {
        node,
        known: {
          get: async address => known.get(address),
          remember: async (address, peerId) => void known.set(address, peerId)
        },
        clock: this.clock,
        random: this.#random,
        log: silentLog
      },
      addresses.map(address => ({ address }))
    )
  }

  async #kill(node: Node, scope: Scope): Promise<void> {
    await this.network.kill(node)
    await scope.close() // what is left of it says nothing: its node is dead
  }
}
