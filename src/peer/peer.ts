import { type PeerId, parseAddress } from '../shared/core/address.ts'
import { systemClock } from '../shared/core/clock.ts'
import { asMusterError, MusterError } from '../shared/core/errors.ts'
import { Emitter } from '../shared/core/events.ts'
import { build, type Scope } from '../shared/core/lifecycle.ts'
import { type Log, silentLog } from '../shared/core/log.ts'
import { checkOptions } from '../shared/core/options.ts'
import { topicOf } from '../shared/core/topic.ts'
import { type Host, type HostTuning, openHost } from '../shared/host/host.server.ts'
import type { Libp2pNode } from '../shared/node/libp2p.server.ts'
import { PROVIDER_VALIDITY_MS } from '../shared/node/limits.ts'
import type { WaitOptions } from '../shared/node/port.ts'
import type { Status } from '../shared/status/status.ts'
import type { Group, JoinOptions, Peer, PeerEvents, Records } from './api.ts'
import { type BroadcastRoom, createBroadcasts } from './broadcasts/broadcasts.ts'
import { nodeCompression } from './messaging/compression.server.ts'
import { messageCounts } from './messaging/counts.ts'
import { createMessaging, type Messaging } from './messaging/messaging.ts'
import { PEER_SETTINGS, type PeerSettings, type PeerValues, peerRules } from './options.ts'
import { peerRecords } from './records/records.ts'
import { streamCounts } from './streams/counts.ts'
import { createStreams, type RawStreams, type StreamsNeeds } from './streams/streams.ts'
import { TopicGroup } from './topics/group.ts'
import { checkHistory } from './topics/past.ts'

/** What `createPeer` takes; the README lists every setting with its default. */
export type PeerOptions = PeerSettings & {
  /** Where log lines go; nowhere by default. */
  readonly log?: Log
  /** For tests and simulations. */
  readonly tuning?: HostTuning
}

/** Milliseconds between two attempts to find out whether the DHT answers, before it does. */
const READY_PAUSE_MS = 500

/**
 * Starts a peer; it listens when this resolves, whether or not a bootstrap is there: listen for `ready` and `problem`.
 * @throws MusterError `options-invalid` | `port-in-use` | `address-unavailable` | `data-locked` | `data-not-writable` |
 *   `data-corrupt` | `identity-corrupt`.
 */
export async function createPeer(options: PeerOptions = {}): Promise<LibraryPeer> {
  const { log = silentLog, tuning = {}, ...settings } = options
  const values = checkOptions(PEER_SETTINGS, settings, { rules: peerRules })
  return await build(async scope => {
    const openDefaultStore = async () => {
      const { openDefaultPeerStore } = await import('../shared/store/paths.server.ts')
      return await openDefaultPeerStore({ log, durability: values.durability })
    }
    const topics = (): Status['topics'] => peer.topics()
    const host = await openHost(scope, { ...values, role: 'peer', openDefaultStore, log, tuning }, topics)
    const peer: LibraryPeer = new LibraryPeer(scope, host, values, log, tuning)
    return peer
  })
}

/** A `Peer` on this machine. */
export class LibraryPeer extends Emitter<PeerEvents> implements Peer {
  readonly peerId: PeerId
  readonly name: string | undefined
  readonly node: Libp2pNode
  readonly records: Records
  readonly signal: AbortSignal
  /** Where health, status and metrics are served; undefined when HTTP is off. */
  readonly httpUrl: string | undefined
  /** Where this peer keeps its data; undefined when it keeps nothing on disk. */
  readonly dataFolder: string | undefined
  /** All records held here, for export and import. @internal */
  readonly archive: Host['records']
  readonly #scope: Scope
  readonly #host: Host
  readonly #messaging: Messaging
  readonly #streams: RawStreams
  readonly #broadcasts: BroadcastRoom
  readonly #groups = new Map<string, TopicGroup>()
  readonly #joining = new Set<string>()
  readonly #usesRoster: boolean
  readonly #validityMs: number
  readonly #maxMesh: number | undefined
  readonly #log: Log
  readonly #mismatched = new Set<PeerId>()
  #isReady = false

  /** @internal */
  constructor(scope: Scope, host: Host, values: PeerValues, log: Log, tuning: HostTuning) {
    super()
    const { node, roster, feed, supervisor, metrics } = host
    this.peerId = node.peerId
    this.name = values.name
    this.node = node
    this.records = peerRecords(host.records, node.peerId)
    this.signal = scope.signal
    this.httpUrl = host.httpUrl
    this.dataFolder = host.store.path
    this.archive = host.records
    this.#scope = scope
    this.#host = host
    this.#log = log
    this.#usesRoster = values.roster
    this.#validityMs = tuning.validityMs ?? PROVIDER_VALIDITY_MS
    this.#maxMesh = tuning.maxMesh
    const connect = async (peerId: PeerId, signal: AbortSignal): Promise<void> => await this.#reach(peerId, signal)
    const membership: StreamsNeeds['membership'] = {
      ownEnvelope: topicId => roster.own(topicId),
      admit: (topicId, peerId, envelope) => roster.admit(peerId, topicId, envelope)
    }
    this.#streams = scope.own(createStreams({ node, connect, membership, metrics: streamCounts(metrics), log }))
    this.#messaging = scope.own(
      createMessaging(
        {
          node,
          connect,
          membership: {
            ...membership,
            isKnown: (topicId, peerId) => this.#groups.get(topicId)?.knows(peerId) === true
          },
          deliver: delivery => {
            const group = this.#groups.get(delivery.topicId)
            if (group === undefined) throw new MusterError('not-a-member')
            return group.deliver(delivery)
          },
          onProgress: (from, topicId, id, progress) => {
            this.#groups.get(topicId)?.emit('progress', { from, id, ...progress })
          },
          compression: nodeCompression,
          metrics: messageCounts(metrics)
        },
        {
          maxMessageBytes: values.maxMessageBytes,
          maxPeerBytes: values.maxPeerBytes,
          ...(values.compressAbove === undefined ? {} : { compressAbove: values.compressAbove })
        }
      )
    )
    this.#broadcasts = scope.own(createBroadcasts({ node, feed, ownEnvelope: topicId => roster.own(topicId), log }))
    scope.defer(supervisor.on('problem', error => this.emit('problem', error as PeerEvents['problem'])))
    scope.defer(async () => {
      await Promise.all([...this.#groups.values()].map(group => group.close()))
    })
    void this.#watchReadiness()
  }

  get addresses(): readonly string[] {
    return this.#host.addresses
  }

  get groups(): readonly Group[] {
    return [...this.#groups.values()]
  }

  get isReady(): boolean {
    return this.#isReady
  }

  async join(name: string, { history = 0 }: JoinOptions = {}): Promise<Group> {
    checkHistory('history', history, 0)
    if (this.signal.aborted) throw new MusterError('closed', 'the peer is closed')
    const topic = await topicOf(name)
    if (this.#groups.has(topic.id) || this.#joining.has(topic.id)) {
      throw new MusterError('already-joined', `${JSON.stringify(topic.name)} is joined already`)
    }
    this.#joining.add(topic.id)
    try {
      const { node, roster, supervisor } = this.#host
      const group = new TopicGroup(
        topic,
        {
          node,
          roster,
          bootstraps: supervisor,
          messaging: this.#messaging,
          streams: this.#streams,
          broadcasts: this.#broadcasts,
          history: this.#host.history,
          clock: systemClock,
          log: this.#log
        },
        {
          name: this.name,
          usesRoster: this.#usesRoster,
          providerValidityMs: this.#validityMs,
          history,
          ...(this.#maxMesh === undefined ? {} : { maxMesh: this.#maxMesh }),
          onClosed: () => this.#groups.delete(topic.id),
          onMismatch: peerId => this.#reportMismatch(peerId)
        }
      )
      this.#groups.set(topic.id, group)
      await group.enter().catch(thrown => {
        this.#groups.delete(topic.id)
        throw thrown
      })
      return group
    } finally {
      this.#joining.delete(topic.id)
    }
  }

  async connect(address: string, options: WaitOptions = {}): Promise<PeerId> {
    return await this.#host.supervisor.connect(parseAddress(address), options)
  }

  async disconnect(address: string): Promise<void> {
    if (await this.#host.supervisor.remove(parseAddress(address).address)) return
    throw new MusterError('unreachable', `${address} is none of the addresses that are kept connected`)
  }

  async status(): Promise<Status> {
    return await this.#host.status()
  }

  /** For `/status`: unlike a bootstrap, a peer knows the names of its topics. */
  topics(): Status['topics'] {
    return this.groups.map(group => {
      const members = group.members()
      return {
        key: group.topicId,
        name: group.topic,
        members: members.length,
        list: members.map(({ peerId, name, verified }) => ({
          peerId,
          ...(name === undefined ? {} : { name }),
          verified
        }))
      }
    })
  }

  close(): Promise<void> {
    return this.#scope.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #reach(peerId: PeerId, signal: AbortSignal): Promise<void> {
    if (this.node.isConnected(peerId)) return
    const groups = [...this.#groups.values()]
    const shows = (each: TopicGroup): boolean => each.members().some(member => member.peerId === peerId)
    const group = groups.find(shows) ?? groups.find(each => each.knows(peerId))
    if (group === undefined) throw new MusterError('not-a-member', 'not a member of any joined topic')
    await group.reach(peerId, signal)
  }

  /** Said once per bootstrap, however many topics find out. */
  #reportMismatch(peerId: PeerId): void {
    if (this.#mismatched.has(peerId)) return
    this.#mismatched.add(peerId)
    const what = `${peerId} answers, but is no Muster node of the network ${JSON.stringify(this.node.network)}: compare --network`
    this.emit('problem', new MusterError('network-mismatch', what) as PeerEvents['problem'])
  }

  async #watchReadiness(): Promise<void> {
    const { dht } = this.node
    try {
      while (!this.signal.aborted) {
        await dht.ready({ signal: this.signal })
        if (await dht.answers({ signal: this.signal })) break
        await new Promise(resolve => systemClock.after(READY_PAUSE_MS, () => resolve(undefined)))
      }
    } catch (thrown) {
      if (this.signal.aborted) return
      this.emit('problem', asMusterError(thrown, 'closed', 'the DHT did not start') as PeerEvents['problem'])
      return
    }
    if (this.signal.aborted) return
    this.#isReady = true
    this.emit('ready', undefined)
  }
}
