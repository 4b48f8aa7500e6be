import { type GossipSub, gossipsub, type Message, type TopicValidatorFn, TopicValidatorResult } from '@libp2p/gossipsub'
import type {
  ComponentLogger,
  Connection,
  Libp2pEvents,
  PeerId as Libp2pPeerId,
  PeerStore,
  PrivateKey,
  TypedEventTarget
} from '@libp2p/interface'
import type { ConnectionManager, Registrar } from '@libp2p/interface-internal'
import { peerIdFromString } from '@libp2p/peer-id'
import type { PeerId } from '../core/address.ts'
import { MusterError } from '../core/errors.ts'
import type { Undo } from '../core/lifecycle.ts'
import type { TopicId } from '../core/topic.ts'
import { gossipTopic, gossipTopicPrefix, MAX_PROOF_BYTES } from '../wire/broadcast.ts'
import { biteAtOnce, deafRegistrar, type GossipInside, keepScores, splitOutbound, stopWithin } from './gossip-inside.ts'
import type { GossipInsight } from './gossip-insight.ts'
import * as limits from './gossip-limits.ts'
import { GossipRates } from './gossip-rates.ts'
import { SCORE_THRESHOLDS, scoreParams, TOPIC_SCORE } from './gossip-score.ts'
import type { Gossip, GossipMessage, GossipVerdict, Published } from './port.ts'
import type { Preset } from './presets.ts'
import { encodeProof, isEd25519Id } from './pubsub.ts'

/** The parts of a libp2p node that gossipsub is built from. */
export interface GossipComponents {
  readonly peerId: Libp2pPeerId
  readonly privateKey: PrivateKey
  readonly registrar: Registrar
  readonly peerStore: PeerStore
  readonly connectionManager: ConnectionManager
  readonly events: TypedEventTarget<Libp2pEvents>
  readonly logger: ComponentLogger
}

export interface GossipInit {
  readonly network: string
  readonly preset: Preset
  readonly now: () => number
}

/** A running gossipsub behind the {@link Gossip} port. */
export interface RunningGossip extends Gossip, GossipInsight {
  stop(): Promise<void>
}

export async function startGossip(components: GossipComponents, init: GossipInit): Promise<RunningGossip> {
  const running = new Gossipsub(components, init)
  await running.start()
  return running
}

class Gossipsub implements RunningGossip {
  readonly #components: GossipComponents
  readonly #init: GossipInit
  readonly #pubsub: GossipSub
  readonly #inside: GossipInside
  readonly #registrar: ReturnType<typeof deafRegistrar>
  readonly #subscribed = new Set<string>()
  /** Messages of our own by their data: `publish` of gossipsub does not show what it signed. */
  readonly #signed = new WeakMap<Uint8Array, Message>()
  readonly #rates: GossipRates
  readonly #opening = new Set<string>()
  /** Connected peers that have gossiped with us. */
  readonly #gossiping = new Set<string>()
  readonly #undo: Undo[] = []

  constructor(components: GossipComponents, init: GossipInit) {
    this.#components = components
    this.#init = init
    this.#rates = new GossipRates(init.now)
    this.#registrar = deafRegistrar(components.registrar)
    this.#pubsub = gossipsub({
      globalSignaturePolicy: 'StrictSign',
      emitSelf: false,
      allowPublishToZeroTopicPeers: true,
      fallbackToFloodsub: false, // its neighbours are sent everything and scored for nothing
      doPX: false,
      tagMeshPeers: false, // who is closed to make room is for admission.ts to say
      scoreParams: scoreParams(init.preset),
      scoreThresholds: SCORE_THRESHOLDS,
      unsubcribeBackoff: 2_000, // whoever leaves and joins again is back in the mesh with the next clean-up, every 15 s
      maxInboundStreams: limits.MAX_GOSSIP_STREAMS_PER_CONNECTION,
      maxInboundDataLength: limits.MAX_GOSSIP_RPC_BYTES,
      maxOutboundBufferSize: limits.MAX_GOSSIP_UNSENT_BYTES,
      maxTopicBytesPerPeer: limits.MAX_GOSSIP_TOPIC_BYTES_PER_PEER,
      decodeRpcLimits: {
        maxSubscriptions: limits.MAX_GOSSIP_SUBSCRIPTIONS_PER_RPC,
        maxMessages: limits.MAX_GOSSIP_MESSAGES_PER_RPC,
        maxIhaveMessageIDs: limits.MAX_GOSSIP_IDS_PER_RPC,
        maxIwantMessageIDs: limits.MAX_GOSSIP_IDS_PER_RPC,
        maxIdontwantMessageIDs: limits.MAX_GOSSIP_IDS_PER_RPC,
        maxControlMessages: limits.MAX_GOSSIP_CONTROLS_PER_RPC,
        maxPeerInfos: 16 // what others in the network may send along with PRUNE; nobody is dialled for it
      },
      msgIdFn: message => this.#idOf(message)
    })({ ...pick(components), registrar: this.#registrar.registrar })
    this.#inside = this.#pubsub as unknown as GossipInside
    this.#inside.protocols = this.#inside.protocols.filter(protocol => protocol !== '/meshsub/1.0.0') // knows no back-off
    biteAtOnce(this.#inside)
    keepScores(this.#inside)
    this.#guardInbound()
    splitOutbound(this.#inside)
  }

  async start(): Promise<void> {
    const { events, connectionManager } = this.#components
    await this.#inside.start()
    // gossipsub opens one stream after the other: a neighbour that does not answer would hold up all for 10 s each
    this.#inside.outboundInflightQueue.end()
    this.#inside.outboundInflightQueue = {
      push: ({ peerId, connection }) => void this.#openOutbound(peerId, connection),
      end: () => undefined
    }
    const onOpen = ({ detail }: CustomEvent<Connection>): void => this.#meet(detail)
    const onGone = ({ detail }: CustomEvent<Libp2pPeerId>): void => this.#forget(detail)
    events.addEventListener('connection:open', onOpen)
    events.addEventListener('peer:disconnect', onGone)
    this.#pubsub.addEventListener('gossipsub:graft', ({ detail }) => this.#catchUp(detail.peerId))
    const timer = setInterval(() => this.#mend(), limits.GOSSIP_MEND_MS)
    timer.unref()
    this.#undo.push(
      () => events.removeEventListener('connection:open', onOpen),
      () => events.removeEventListener('peer:disconnect', onGone),
      () => clearInterval(timer)
    )
    await this.#registrar.serve()
    for (const connection of connectionManager.getConnections()) this.#meet(connection)
  }

  subscribe(topicId: TopicId, judge: (message: GossipMessage) => Promise<GossipVerdict>): Undo {
    const topic = this.#nameOf(topicId)
    if (this.#subscribed.has(topic)) throw new MusterError('options-invalid', 'the topic is subscribed to already')
    this.#inside.opts.scoreParams.topics[topic] = TOPIC_SCORE // never taken back: scores of neighbours refer to it
    this.#pubsub.topicValidators.set(topic, this.#validator(topicId, judge))
    this.#subscribed.add(topic)
    this.#pubsub.subscribe(topic)
    return () => {
      if (!this.#subscribed.delete(topic)) return
      this.#pubsub.unsubscribe(topic)
      this.#pubsub.topicValidators.delete(topic)
    }
  }

  async publish(topicId: TopicId, data: Uint8Array): Promise<Published> {
    const floodPublish = data.length <= limits.MAX_FLOODED_BYTES
    const { recipients } = await this.#inside.publish(this.#nameOf(topicId), data, { floodPublish })
    const message = this.#signed.get(data)
    if (message?.type !== 'signed') throw new MusterError('closed', 'gossipsub signed nothing')
    return { peers: recipients.map(id => id.toString()), proof: proofOf(message) }
  }

  neighbours(topicId: TopicId): readonly PeerId[] {
    // one that we have no stream to yet is in the mesh and hears nothing
    return this.#inside.getMeshPeers(this.#nameOf(topicId)).filter(id => this.#inside.streamsOutbound.has(id))
  }

  scoreOf(peerId: PeerId): number {
    return this.#inside.score.score(peerId)
  }

  subscribers(topicId: TopicId): number {
    return this.#inside.topics.get(this.#nameOf(topicId))?.size ?? 0
  }

  tables(): ReturnType<RunningGossip['tables']> {
    const { peers, topics, score, mcache, seenCache } = this.#inside
    return {
      peers: peers.size,
      topics: topics.size,
      scores: score.peerStats.size,
      messages: mcache.size,
      seen: seenCache.size
    }
  }

  async stop(): Promise<void> {
    for (const step of this.#undo.splice(0)) step()
    await stopWithin(limits.GOSSIP_CLOSE_MS, this.#inside)
  }

  #nameOf(topicId: TopicId): string {
    return gossipTopic(this.#init.network, topicId)
  }

  /** The id gossipsub gives by default: key, then sequence number. */
  #idOf(message: Message): Uint8Array {
    if (message.type !== 'signed') throw new MusterError('protocol-violation', 'an unsigned gossip message')
    if (message.from.equals(this.#components.peerId)) this.#signed.set(message.data, message)
    const key = message.from.toMultihash().digest
    const id = new Uint8Array(key.length + 8)
    id.set(key)
    id.set(seqnoOf(message), key.length)
    return id
  }

  #validator(topicId: TopicId, judge: (message: GossipMessage) => Promise<GossipVerdict>): TopicValidatorFn {
    return async (from, message) => {
      const id = from.toString()
      if (message.type !== 'signed' || !isEd25519Id(message.from.toMultihash().bytes)) return VERDICTS.reject
      const { data } = message
      const proof = proofOf(message)
      if (proof.length > MAX_PROOF_BYTES) return VERDICTS.reject
      const verdict = await judge({ topicId, author: message.from.toString(), from: id, data, proof })
      if (verdict === 'ignore' && !this.#rates.forgivesIgnored(id, message.from.toString()))
        this.#inside.score.addPenalty(id, 1, 'ignored')
      return VERDICTS[verdict]
    }
  }

  /** Strangers subscribe to names of ours only, and messages for topics nobody here is in are not worth a signature. */
  #guardInbound(): void {
    const inside = this.#inside
    const handle = inside.handleReceivedRpc.bind(inside)
    const prefix = gossipTopicPrefix(this.#init.network)
    inside.handleReceivedRpc = async (from, rpc) => {
      const id = from.toString()
      if (!inside.peers.has(id)) return // it has gone: what it subscribed to now would be remembered for ever
      // it gossips by now, and did not when we asked: it was still starting
      if (!inside.streamsOutbound.has(id)) this.#askAgain(id)
      if (rpc.subscriptions !== undefined) {
        rpc.subscriptions = rpc.subscriptions.filter(
          ({ topic = '' }) => topic.startsWith(prefix) && topic.length <= 128
        )
      }
      rpc.messages = rpc.messages.filter(({ topic, data }) => {
        if (this.#subscribed.has(topic) && this.#rates.admits(id, data?.length ?? 0)) return true
        if (!this.#rates.forgivesUnwanted(id)) inside.score.addPenalty(id, 1, 'unwanted')
        return false
      })
      await handle(from, rpc)
      if (rpc.subscriptions !== undefined && rpc.subscriptions.length > 0) this.#catchUp(id)
    }
  }

  /** Whoever is connected is asked for gossip at once; nothing waits for identify, which may never have run. */
  #meet(connection: Connection): void {
    this.#inside.onPeerConnected(connection.remotePeer, connection)
  }

  /** False when it is not connected. */
  #askAgain(id: string): boolean {
    const connections = this.#components.connectionManager.getConnections(peerIdFromString(id))
    const connection = connections.find(each => each.status === 'open')
    if (connection !== undefined) this.#meet(connection)
    return connection !== undefined
  }

  async #openOutbound(peerId: Libp2pPeerId, connection: Connection): Promise<void> {
    const id = peerId.toString()
    if (this.#opening.has(id)) return
    this.#opening.add(id)
    const { streamsOutbound, streamsInbound } = this.#inside
    try {
      await this.#inside.createOutboundStream(peerId, connection)
      // it did not gossip yet when we asked, and has opened a stream meanwhile
      if (!streamsOutbound.has(id) && streamsInbound.has(id))
        await this.#inside.createOutboundStream(peerId, connection)
    } finally {
      this.#opening.delete(id)
    }
    this.#catchUp(id)
  }

  /**
   * Tells a peer that has just come, into the topic or into the mesh, what was said in the last 3 s: it asks for what it has
   * not heard. gossipsub tells only those outside the mesh, later, so that what is said while two meet is lost.
   */
  #catchUp(id: string): void {
    const { topics, streamsOutbound, mcache } = this.#inside
    const shared = [...this.#subscribed].filter(topic => topics.get(topic)?.has(id) === true)
    if (shared.length === 0 || !streamsOutbound.has(id)) return
    const ihave = [...mcache.getGossipIDs(new Set(shared))].map(([topicID, messageIDs]) => ({
      topicID,
      messageIDs: messageIDs.slice(-limits.MAX_GOSSIP_IDS_PER_RPC)
    }))
    if (ihave.length === 0) return
    const control = { ihave, iwant: [], graft: [], prune: [], idontwant: [] }
    this.#inside.sendRpc(id, { subscriptions: [], messages: [], control })
  }

  #forget(peerId: Libp2pPeerId): void {
    const id = peerId.toString()
    const { score } = this.#inside
    this.#inside.onPeerDisconnected(peerId) // gossipsub hears of it only from peers that were identified
    const stats = score.peerStats.get(id)
    if (stats === undefined || score.score(id) < 0) return
    this.#dropScore(id, stats.knownIPs) // nothing against it: not worth keeping for each stranger that ever called
  }

  /** A stream broke while its connection goes on: too much unsent, an RPC over the limit, the end of a second connection. */
  #mend(): void {
    const { streamsInbound, streamsOutbound, score } = this.#inside
    for (const streams of [streamsInbound, streamsOutbound]) for (const id of streams.keys()) this.#gossiping.add(id)
    for (const id of this.#gossiping) {
      if (!streamsOutbound.has(id) && !this.#askAgain(id)) this.#gossiping.delete(id)
    }
    for (const [id, { connected, knownIPs }] of score.peerStats) {
      if (score.peerStats.size <= limits.MAX_GOSSIP_SCORES) break
      if (!connected) this.#dropScore(id, knownIPs)
    }
  }

  #dropScore(id: string, ips: Set<string>): void {
    const { score } = this.#inside
    score.removeIPsForPeer(id, ips)
    score.peerStats.delete(id)
    score.scoreCache.delete(id)
  }
}

/** Components of libp2p are getters of a proxy; gossipsub must get these and no others. */
function pick({ peerId, privateKey, peerStore, connectionManager, logger }: GossipComponents) {
  return { peerId, privateKey, peerStore, connectionManager, logger }
}

const VERDICTS: Readonly<Record<GossipVerdict, TopicValidatorResult>> = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject
}

type SignedMessage = Extract<Message, { readonly type: 'signed' }>

function proofOf(message: SignedMessage): Uint8Array {
  const { from, data, topic, signature } = message
  return encodeProof({ from: from.toMultihash().bytes, data, seqno: seqnoOf(message), topic, signature })
}

function seqnoOf({ sequenceNumber }: SignedMessage): Uint8Array {
  const seqno = new Uint8Array(8)
  new DataView(seqno.buffer).setBigUint64(0, sequenceNumber)
  return seqno
}
