import { identify, identifyPush } from '@libp2p/identify'
import type { Connection, Libp2p, PeerId as Libp2pPeerId, Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import type { Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { DialAddress, PeerAddress, PeerId } from '../core/address.ts'
import { concatBytes } from '../core/bytes.ts'
import { asError, asMusterError, MusterError } from '../core/errors.ts'
import { Emitter } from '../core/events.ts'
import { build, type Scope, type Undo } from '../core/lifecycle.ts'
import { silentLog } from '../core/log.ts'
import { systemRandom } from '../core/random.ts'
import { deadline, raceSignal } from '../core/signals.ts'
import { encodeFrames } from '../wire/frames.ts'
import { StreamChannel } from './channel.ts'
import type { RunningDht } from './dht.ts'
import { cappedPeerStore } from './dht-guard.ts'
import { GuardedRows } from './dht-rows.ts'
import { Dialer } from './dial.ts'
import { eagerTcp } from './eager-tcp.server.ts'
import { forgetRumours } from './forget-rumours.ts'
import type { RunningGossip } from './gossip.ts'
import type { GossipInsight } from './gossip-insight.ts'
import { keepHeartbeat } from './heartbeat.ts'
import { identifyAfter } from './identify-later.ts'
import { evictWhenFull, InboundGate } from './inbound.ts'
import { LazyDht } from './lazy-dht.ts'
import { LazyGossip } from './lazy-gossip.ts'
import { lazyYamux } from './lazy-windows.ts'
import * as limits from './limits.ts'
import { listenError } from './listen-error.ts'
import { isOpen, muxerOf } from './muxer.ts'
import { agreement, proposal } from './negotiate.ts'
import { guardNegotiation } from './negotiation-guard.ts'
import { noise } from './noise.server.ts'
import type { Libp2pNodeOptions } from './options.ts'
import type {
  Channel,
  ConnectionInfo,
  ConnectOptions,
  Dht,
  Gossip,
  HandleOptions,
  Node,
  NodeEvents,
  OpenOptions,
  WaitOptions
} from './port.ts'
import { mayAnnounce, mayDial } from './presets.ts'
import { quietLogger } from './quiet-logger.ts'
import { sharedDials } from './shared-dials.ts'

/** A node over libp2p 3: TCP, Noise, yamux, identify, ping, kad-dht. */
export interface Libp2pNode extends Node {
  /** The libp2p node below, for what the port does not offer. What is done with it is not Muster's promise. */
  readonly libp2p: Libp2p
  /** `running` is undefined until something subscribes or publishes. */
  readonly gossip: Gossip & { readonly running: GossipInsight | undefined }
}

/**
 * Starts a node. It listens when this resolves; the DHT may still be starting (`dht.ready`).
 * @throws MusterError `port-in-use` | `address-unavailable` | `address-invalid`.
 * @internal
 */
export async function createLibp2pNode(options: Libp2pNodeOptions): Promise<Libp2pNode> {
  return await build(async scope => {
    const now = (): number => Date.now()
    const rows = new GuardedRows(options.store.datastore, {
      selfId: options.identity.peerId,
      validityMs: options.providerValidityMs ?? limits.PROVIDER_VALIDITY_MS,
      now,
      random: systemRandom
    })
    await rows.load()
    const gate = new InboundGate(options)
    const dialer: Dialer = new Dialer(
      (address, signal) => componentsOf(libp2p).transportManager.dial(address, { signal }),
      options.preset,
      scope.signal
    )
    const libp2p = await createLibp2p({
      privateKey: options.identity.privateKey,
      datastore: rows,
      start: false,
      nodeInfo: { name: 'muster', version: options.version ?? '0.0.0' },
      ...(process.env.DEBUG === undefined ? { logger: quietLogger } : {}),
      ...(options.libp2pMetrics === undefined ? {} : { metrics: options.libp2pMetrics as never }),
      addresses: {
        listen: [...options.listen],
        appendAnnounce: [...(options.announce ?? [])],
        announceFilter: addresses => addresses.filter(address => mayAnnounce(options.preset, address))
      },
      transports: [eagerTcp({ backlog: 511 })],
      connectionEncrypters: [noise()],
      streamMuxers: [
        lazyYamux({
          maxInboundStreams: limits.MAX_STREAMS_PER_CONNECTION,
          maxOutboundStreams: limits.MAX_STREAMS_PER_CONNECTION,
          streamOptions: {
            maxStreamWindowSize: limits.MAX_STREAM_WINDOW_BYTES,
            maxReadBufferLength: limits.MAX_STREAM_READ_BYTES,
            maxWriteBufferLength: limits.MAX_STREAM_WRITE_BYTES
          }
        })
      ],
      // entries must outlive provider rows: GET_PROVIDERS fails for a whole topic otherwise (T2, T3)
      peerStore: { maxAddressAge: Infinity, maxPeerAge: 7 * 86_400_000 },
      connectionManager: {
        maxConnections: gate.maxConnections + limits.RESERVED_CONNECTIONS,
        inboundConnectionThreshold: 1_000_000, // per address; ours is per prefix, in the gate (T9)
        maxIncomingPendingConnections: limits.MAX_PENDING_INBOUND,
        inboundUpgradeTimeout: limits.UPGRADE_TIMEOUT_MS,
        dialTimeout: limits.DIAL_TIMEOUT_MS,
        addressDialTimeout: limits.DIAL_TIMEOUT_MS,
        reconnectRetries: 0 // supervision is ours (T8)
      },
      connectionMonitor: { enabled: false }, // ours is cheaper: heartbeat.ts
      connectionGater: {
        denyInboundConnection: socket => gate.denies(socket.remoteAddr),
        denyDialMultiaddr: address => !mayDial(options.preset, address)
      },
      services: {
        negotiationGuard: components => {
          guardNegotiation(components) // ahead of whoever opens streams: it hears first of every connection
          return {}
        },
        peerStoreCap: components => {
          const capped = cappedPeerStore(components.peerStore, now, why => options.onDhtRefusal?.(why))
          components.peerStore = capped // whoever comes after, and every connection, sees the capped one
          return capped
        },
        dials: components => {
          components.connectionManager = sharedDials(components.connectionManager, async (peerId, signal) => {
            const { addresses } = await components.peerStore.get(peerId)
            const texts = addresses.map(({ multiaddr: address }) => withoutPeer(address))
            return await dialer.peer({ peerId: peerId.toString(), addresses: texts }, signal)
          })
          return {} // the name is only a place to do this: libp2p would start what is returned once more
        },
        identify: identify({ runOnConnectionOpen: false }), // identify-later.ts does
        identifyPush: identifyPush(),
        ping: ping({ maxInboundStreams: 8, maxOutboundStreams: 8 }) // one outbound ping collides with the monitor's (T26)
      }
    })
    scope.defer(() => libp2p.stop())
    scope.defer(keepHeartbeat(libp2p))
    scope.defer(identifyAfter(libp2p, options.quietStartMs ?? 0))
    forgetRumours(libp2p, rows, err => options.log?.error({ err }, 'peer store not pruned'))
    try {
      await libp2p.start()
    } catch (thrown) {
      throw listenError(thrown, options.listen)
    }
    return new TcpNode(libp2p, { rows, gate, dialer }, options, scope)
  })
}

interface Parts {
  readonly rows: GuardedRows
  readonly gate: InboundGate
  readonly dialer: Dialer
}

class TcpNode implements Libp2pNode {
  readonly libp2p: Libp2p
  readonly peerId: PeerId
  readonly network: string
  readonly signal: AbortSignal
  readonly dht: Dht
  readonly gossip: LazyGossip
  readonly on: Emitter<NodeEvents>['on']
  readonly #events = new Emitter<NodeEvents>()
  readonly #scope: Scope
  readonly #dialer: Dialer
  readonly #options: Libp2pNodeOptions
  /** Peers we are hanging up on. */
  readonly #left = new Set<PeerId>()
  #addresses: readonly string[] = []

  constructor(libp2p: Libp2p, { rows, gate, dialer }: Parts, options: Libp2pNodeOptions, scope: Scope) {
    this.libp2p = libp2p
    this.peerId = options.identity.peerId
    this.network = options.network
    this.signal = scope.signal
    this.on = this.#events.on.bind(this.#events)
    this.#scope = scope
    this.#options = options
    this.#dialer = dialer
    const lazy = new LazyDht(this.#dhtStarter(rows), options.quietStartMs ?? 0)
    this.dht = lazy
    scope.own(lazy)
    this.gossip = scope.own(new LazyGossip(() => this.#startGossip(), options.quietStartMs ?? 0))
    this.#addresses = this.#ownAddresses()
    this.#listen(lazy, gate)
  }

  get addresses(): readonly string[] {
    return this.#addresses
  }

  connections(): readonly ConnectionInfo[] {
    return this.libp2p.getConnections().filter(isOpen).map(infoOf)
  }

  isConnected(peerId: PeerId): boolean {
    return this.#connection(peerId) !== undefined
  }

  async connect(target: PeerAddress | DialAddress, options: ConnectOptions = {}): Promise<PeerId> {
    this.#throwIfClosed()
    if (target.peerId !== undefined && this.isConnected(target.peerId)) return target.peerId
    if (target.peerId === this.peerId) throw new MusterError('unreachable', 'the address is our own')
    try {
      const connection =
        'addresses' in target ? await this.#dialer.peer(target, options.signal) : await this.#dialPlace(target, options)
      return connection.remotePeer.toString()
    } catch (thrown) {
      this.#throwIfClosed()
      throw asMusterError(thrown, 'unreachable')
    }
  }

  async disconnect(peerId: PeerId): Promise<void> {
    const id = peerIdFromString(peerId)
    if (this.libp2p.getConnections(id).length === 0) return
    this.#left.add(peerId)
    await this.libp2p.hangUp(id)
  }

  async #dialPlace(target: DialAddress, { signal, check }: ConnectOptions): Promise<Connection> {
    const connection = await this.#dialer.place(target, signal)
    try {
      check?.(connection.remotePeer.toString())
      return connection
    } catch (thrown) {
      const { remotePeer } = connection
      if (this.libp2p.getConnections(remotePeer).length === 1) this.#left.add(remotePeer.toString())
      await connection.close().catch(error => connection.abort(error))
      throw thrown
    }
  }

  async ping(peerId: PeerId, { signal }: WaitOptions = {}): Promise<number> {
    const connection = this.#connection(peerId)
    if (connection === undefined) throw new MusterError('unreachable', 'no connection to the peer')
    using limit = deadline(limits.PING_TIMEOUT_MS.maxTimeout, `ping ${peerId}`, this.signal, signal)
    const service = this.libp2p.services.ping as { ping(id: Libp2pPeerId, o: WaitOptions): Promise<number> }
    try {
      return await raceSignal(service.ping(connection.remotePeer, { signal: limit.signal }), limit.signal)
    } catch (thrown) {
      throw asMusterError(limit.signal.aborted ? limit.signal.reason : thrown, 'unreachable')
    }
  }

  async open(peerId: PeerId, protocol: string, options: OpenOptions): Promise<Channel> {
    this.#throwIfClosed()
    if (options.signal?.aborted) throw asMusterError(options.signal.reason, 'aborted')
    const { first = [], maxFrameBytes } = options
    if (first.some(frame => frame.length > maxFrameBytes)) throw new MusterError('too-large', 'a frame over the limit')
    const connection = this.#connection(peerId)
    const muxer = muxerOf(connection)
    if (muxer === undefined) throw new MusterError('unreachable', 'no connection to the peer')
    const name = this.#fullName(protocol)
    try {
      const stream = await muxer.createStream({})
      stream.protocol = name
      const channel = new StreamChannel(stream, peerId, maxFrameBytes, agreement(name))
      channel.sendOpening(concatBytes([proposal(name), encodeFrames(first)]))
      return channel
    } catch (thrown) {
      throw asMusterError(thrown, 'closed', 'the stream could not be opened')
    }
  }

  handle(protocol: string, options: HandleOptions, handler: (channel: Channel) => void | Promise<void>): Undo {
    const name = this.#fullName(protocol)
    const serve = (stream: Stream, connection: Connection): void => {
      const channel = new StreamChannel(stream, connection.remotePeer.toString(), options.maxFrameBytes)
      void (async () => {
        try {
          await handler(channel)
        } catch (thrown) {
          channel.abort(asError(thrown))
        }
      })()
    }
    const handled = this.libp2p.handle(name, serve, {
      maxInboundStreams: options.maxInboundPerConnection,
      maxOutboundStreams: limits.MAX_STREAMS_PER_CONNECTION
    })
    handled.catch(thrown => this.#log.error({ err: asError(thrown), protocol: name }, 'protocol not served'))
    return () => {
      void handled.then(() => this.libp2p.unhandle(name)).catch(() => undefined) // closing: nobody is served any more
    }
  }

  async seal(domain: string, payload: Uint8Array, maxBytes?: number): Promise<Uint8Array> {
    return await this.#options.identity.seal(domain, payload, maxBytes)
  }

  close(): Promise<void> {
    return this.#scope.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  get #log(): NonNullable<Libp2pNodeOptions['log']> {
    return this.#options.log ?? silentLog
  }

  #listen(dht: LazyDht, gate: InboundGate): void {
    const { libp2p } = this
    evictWhenFull(libp2p, gate.maxConnections, `/muster/${this.network}/`, () =>
      this.#options.onConnectionRefused?.('evicted')
    )
    libp2p.addEventListener('peer:connect', ({ detail }) => {
      this.#left.delete(detail.toString())
      const connection = this.#connection(detail.toString())
      if (connection !== undefined) this.#events.emit('connect', infoOf(connection))
    })
    libp2p.addEventListener('peer:disconnect', ({ detail }) => {
      const peerId = detail.toString()
      this.#events.emit('disconnect', { peerId })
      // whom we left is not dialled to see whether it lives
      const forgotten = this.#left.delete(peerId)
        ? dht.drop(peerId)
        : dht.forgetDead(peerId, () => this.#isAlive(detail))
      forgotten.catch(() => undefined) // best effort
    })
    libp2p.addEventListener('self:peer:update', () => {
      const addresses = this.#ownAddresses()
      if (addresses.join() === this.#addresses.join()) return
      this.#addresses = addresses
      this.#events.emit('addresses', addresses)
    })
  }

  /** Whether a peer that has just been lost answers a new dial. */
  async #isAlive(id: Libp2pPeerId): Promise<boolean> {
    if (this.isConnected(id.toString())) return true
    const peer = await this.libp2p.peerStore.get(id)
    const addresses = peer.addresses.map(address => address.multiaddr.toString())
    await this.connect({ peerId: id.toString(), addresses })
    return true
  }

  #ownAddresses(): string[] {
    const announced = new Set(this.#options.announce ?? [])
    const texts = this.libp2p.getMultiaddrs().map(withoutPeer)
    const rank = (text: string): number => (announced.has(text) ? 0 : /\/(127\.|::1\/)/.test(text) ? 2 : 1)
    return [...new Set(texts)].sort((a, b) => rank(a) - rank(b)).slice(0, limits.MAX_ADDRESSES_PER_PEER)
  }

  #dhtStarter(rows: GuardedRows): () => Promise<RunningDht> {
    return async () => {
      const { startDht } = await import('./dht.ts') // 730 KB of source: not on a newcomer's way to its first message
      this.#throwIfClosed()
      return await startDht(componentsOf(this.libp2p), {
        rows,
        protocol: this.#fullName('kad/1.0.0'),
        preset: this.#options.preset,
        validityMs: this.#options.providerValidityMs ?? limits.PROVIDER_VALIDITY_MS,
        mayBeAlone: this.#options.mayBeAlone ?? false,
        now: () => Date.now(),
        onRefusal: why => this.#options.onDhtRefusal?.(why)
      })
    }
  }

  async #startGossip(): Promise<RunningGossip> {
    const { startGossip } = await import('./gossip.ts') // like the DHT: not on a newcomer's way to its first message
    this.#throwIfClosed()
    const { network, preset } = this.#options
    return await startGossip(componentsOf(this.libp2p), { network, preset, now: () => Date.now() })
  }

  #fullName(protocol: string): string {
    return `/muster/${this.network}/${protocol}`
  }

  #connection(peerId: PeerId): Connection | undefined {
    return this.libp2p.getConnections(peerIdFromString(peerId)).find(isOpen)
  }

  #throwIfClosed(): void {
    if (this.signal.aborted) throw new MusterError('closed', 'the node is closed')
  }
}

function componentsOf(libp2p: Libp2p): LibP2PComponents {
  return (libp2p as unknown as { components: LibP2PComponents }).components
}
type LibP2PComponents = Parameters<typeof import('./dht.ts').startDht>[0] & {
  readonly transportManager: { dial(address: Multiaddr, options: { signal: AbortSignal }): Promise<Connection> }
}

function infoOf(connection: Connection): ConnectionInfo {
  return {
    peerId: connection.remotePeer.toString(),
    inbound: connection.direction === 'inbound',
    address: withoutPeer(connection.remoteAddr)
  }
}

function withoutPeer(address: { toString(): string }): string {
  return address.toString().replace(/\/p2p\/[^/]+$/, '')
}
