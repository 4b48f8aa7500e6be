import type {
  ComponentLogger,
  Connection,
  Libp2pEvents,
  PeerId as Libp2pPeerId,
  Metrics,
  PeerStore,
  PrivateKey,
  TypedEventTarget
} from '@libp2p/interface'
import type { AddressManager, ConnectionManager, Registrar } from '@libp2p/interface-internal'
import { kadDHT, passthroughMapper, removePrivateAddressesMapper } from '@libp2p/kad-dht'
import { peerIdFromString } from '@libp2p/peer-id'
import type { Ping } from '@libp2p/ping'
import { Key } from 'interface-datastore'
import { CID } from 'multiformats/cid'
import type { PeerAddress, PeerId } from '../core/address.ts'
import { MusterError } from '../core/errors.ts'
import { deadline, raceSignal } from '../core/signals.ts'
import { Slots } from '../core/slots.ts'
import { AddressBook } from './address-book.ts'
import { cappedPeerStore, type DhtRefusal, forgivingPeerStore, meteredAnswers, meteredRegistrar } from './dht-guard.ts'
import type { GuardedRows } from './dht-rows.ts'
import type { KadEvent, KadInternals } from './kad-internals.ts'
import { MAX_ADDRESSES_PER_PEER, MAX_PARALLEL_PROVIDES, PING_TIMEOUT_MS } from './limits.ts'
import type { Dht, DhtCounts, WaitOptions } from './port.ts'
import { closestTo, type Position } from './position.ts'
import { dialable, type Preset } from './presets.ts'

/** The parts of a libp2p node that kad-dht is built from. */
export interface DhtComponents {
  readonly peerId: Libp2pPeerId
  readonly privateKey: PrivateKey
  readonly registrar: Registrar
  readonly addressManager: AddressManager
  readonly peerStore: PeerStore
  readonly connectionManager: ConnectionManager
  readonly events: TypedEventTarget<Libp2pEvents>
  readonly logger: ComponentLogger
  readonly metrics?: Metrics
  readonly ping: Ping
}

export interface DhtInit {
  readonly rows: GuardedRows
  readonly protocol: string
  readonly preset: Preset
  readonly validityMs: number
  /** A bootstrap answers from what it holds even when it knows nobody (T22). */
  readonly mayBeAlone: boolean
  readonly now: () => number
  readonly onRefusal: (why: DhtRefusal) => void
}

/** A running kad-dht behind the {@link Dht} port. */
export interface RunningDht extends Dht {
  /** True while a peer is in the routing table. */
  has(peerId: PeerId): boolean
  /** Takes a peer out of the routing table: it is gone. */
  drop(peerId: PeerId): Promise<void>
  stop(): Promise<void>
}

const GET_PROVIDERS = 'GET_PROVIDERS'
const FIND_NODE = 'FIND_NODE'
/** Peers up to which all of the table is sorted by distance. */
const MAX_SORTED_TABLE = 256
/** Milliseconds until those connected that are not in the table are shown to kad-dht again: it asks once, and forgets whoever did not answer that ping. */
const GREET_AGAIN_MS = 5_000
const NO_PATH = { index: -1, queued: 0, running: 0, total: 0 }

export async function startDht(components: DhtComponents, init: DhtInit): Promise<RunningDht> {
  const peerStore = forgivingPeerStore(cappedPeerStore(components.peerStore, init.now, init.onRefusal))
  const kad = kadDHT({
    protocol: init.protocol,
    clientMode: false, // the default, true, never answers on a private network (T1)
    peerInfoMapper: init.preset === 'private' ? passthroughMapper : removePrivateAddressesMapper,
    allowQueryWithZeroPeers: init.mayBeAlone,
    initialQuerySelfInterval: 100, // every query waits for the first self-query; kad-dht's 1,000 is most of a newcomer's time
    querySelfInterval: 60_000,
    networkDialTimeout: PING_TIMEOUT_MS,
    pingNewContactTimeout: PING_TIMEOUT_MS,
    pingOldContactTimeout: PING_TIMEOUT_MS,
    maxInboundStreams: 64,
    maxOutboundStreams: 128,
    // topics announce themselves (topics/announce.ts), verified; kad-dht only sweeps what expired
    reprovide: { validity: init.validityMs, threshold: 0, interval: Math.max(1_000, Math.round(init.validityMs / 6)) },
    validators: {},
    selectors: {}
  })({
    ...pick(components),
    peerStore,
    connectionManager: meteredAnswers(components.connectionManager, init.onRefusal),
    registrar: meteredRegistrar(components.registrar, init.now, init.onRefusal),
    datastore: init.rows
  } as never) as unknown as KadInternals
  kad.addEventListener('peer', event => {
    const { id, multiaddrs } = event.detail
    if (id.equals(components.peerId)) return
    void peerStore.merge(id, { multiaddrs }).catch(() => undefined) // a rumour we could not note is no loss
  })
  await kad.start()
  await greetConnected(kad, components)
  return new KadDht(kad, components, init)
}

/** kad-dht learns of peers from identify; those identified before it started have to be shown to it. */
async function greetConnected(
  kad: KadInternals,
  components: DhtComponents,
  known: readonly Libp2pPeerId[] = []
): Promise<void> {
  const seen = new Set<string>(known.map(id => id.toString()))
  for (const connection of components.connectionManager.getConnections() as Connection[]) {
    if (seen.has(connection.remotePeer.toString())) continue
    seen.add(connection.remotePeer.toString())
    const peer = await components.peerStore.get(connection.remotePeer).catch(() => undefined) // not identified yet: it will be
    if (peer?.protocols.includes(kad.protocol)) {
      await kad.onPeerConnect({ id: peer.id, multiaddrs: peer.addresses.map(address => address.multiaddr) })
    }
  }
}

class KadDht implements RunningDht {
  readonly #kad: KadInternals
  readonly #self: Libp2pPeerId
  readonly #init: DhtInit
  readonly #provides = new Slots(MAX_PARALLEL_PROVIDES)
  readonly #addresses: AddressBook
  readonly #greeting: ReturnType<typeof setInterval>
  /** The routing table as a list, until it changes. */
  #listed: readonly Libp2pPeerId[] | undefined

  constructor(kad: KadInternals, components: DhtComponents, init: DhtInit) {
    this.#kad = kad
    this.#addresses = new AddressBook(components)
    for (const change of ['peer:add', 'peer:remove'] as const) {
      kad.routingTable.addEventListener(change, () => {
        this.#listed = undefined
      })
    }
    this.#greeting = setInterval(() => {
      if (this.size >= MAX_SORTED_TABLE) return
      greetConnected(kad, components, this.#table()).catch(() => undefined) // the next time it may work
    }, GREET_AGAIN_MS)
    this.#greeting.unref?.()
    this.#self = components.peerId
    this.#init = init
  }

  get size(): number {
    return this.#kad.routingTable.size
  }

  async ready(options: WaitOptions = {}): Promise<void> {
    if (this.size > 0 || this.#init.mayBeAlone) return
    const { routingTable } = this.#kad
    const { promise: added, resolve } = Promise.withResolvers<void>()
    const onAdd = (): void => resolve()
    routingTable.addEventListener('peer:add', onAdd)
    try {
      await (options.signal === undefined ? added : raceSignal(added, options.signal))
    } finally {
      routingTable.removeEventListener('peer:add', onAdd)
    }
  }

  async answers(options: WaitOptions = {}): Promise<boolean> {
    if (this.size === 0) {
      // alone: what a stranger could ask of us is whether the rows can be read
      if (this.#init.mayBeAlone) await this.#init.rows.has(new Key('/dht/provider/probe'))
      return this.#init.mayBeAlone
    }
    const target = this.#self.toMultihash().bytes
    const anywhere = crypto.getRandomValues(new Uint8Array(32))
    const closest = this.#kad.routingTable.closestPeers(anywhere, { count: 3 })
    const asked = closest.map(async id => {
      if (!(await this.#request(id, FIND_NODE, target, options))) throw new MusterError('unreachable')
    })
    return await Promise.any(asked).then(
      () => true,
      () => false
    )
  }

  async provide(key: Uint8Array, options: WaitOptions = {}): Promise<readonly PeerId[]> {
    await this.ready(options)
    return await this.#provides.run(async () => {
      const cid = CID.decode(key)
      const sent = new Map<string, Libp2pPeerId>()
      for await (const event of this.#kad.provide(cid, options) as AsyncIterable<KadEvent>) {
        if (event.name === 'PEER_RESPONSE' && event.messageName === 'ADD_PROVIDER' && event.from !== undefined) {
          sent.set(event.from.toString(), event.from)
        }
      }
      // ADD_PROVIDER is not acknowledged, and some of what was "sent" is not stored (T15): read it back
      const holders: PeerId[] = []
      const reads = new Slots(MAX_PARALLEL_PROVIDES)
      await Promise.all(
        [...sent.values()].map(id =>
          reads.run(async () => (await this.#holds(id, cid, options)) && holders.push(id.toString()))
        )
      )
      return holders
    }, options.signal)
  }

  async unprovide(key: Uint8Array): Promise<void> {
    await this.#kad.cancelReprovide(CID.decode(key))
  }

  async forget(key: Uint8Array, peerId: PeerId): Promise<void> {
    await this.#kad.providers.removeProvider(CID.decode(key), peerIdFromString(peerId))
  }

  async *providers(key: Uint8Array, options: WaitOptions = {}): AsyncIterable<PeerAddress> {
    await this.ready(options)
    const seen = new Set<string>([this.#self.toString()])
    const target = CID.decode(key).multihash.bytes
    const ask = (id: Libp2pPeerId, signal: AbortSignal, path: unknown): AsyncIterable<KadEvent> =>
      this.#kad.network.sendRequest(id, { type: GET_PROVIDERS, key: target }, { signal, path })
    for (const id of await this.#kad.providers.getProviders(CID.decode(key))) {
      const peer = await this.#kad.components.peerStore.get(id)
      const found = fresh(seen, this.#init.preset, { id, multiaddrs: peer.addresses.map(address => address.multiaddr) })
      if (found !== undefined) yield found
    }
    if (this.size === 0) return
    // not findProviders: it stops at 20, and a node that holds 20 itself asks nobody (T11)
    const query = this.#kad.queryManager.run(target, ({ peer, signal, path }) => ask(peer.id, signal, path), options)
    for await (const event of query) {
      for (const provider of event.providers ?? []) {
        const found = fresh(seen, this.#init.preset, provider)
        if (found !== undefined) yield found
      }
    }
  }

  closest(target: Position, count: number): readonly PeerAddress[] {
    const { routingTable } = this.#kad
    // kad-dht's own search makes 0.1 to 0.3 ms of what takes 0.01 in a small table
    const ids =
      routingTable.size > MAX_SORTED_TABLE
        ? routingTable.closestPeers(target, { count })
        : closestTo(target, this.#table(), count, each => each.toString())
    return ids.map(id => ({ peerId: id.toString(), addresses: this.#addresses.of(id) }))
  }

  async counts(): Promise<DhtCounts> {
    return this.#init.rows.counts
  }

  has(peerId: PeerId): boolean {
    return this.#table().some(id => id.toString() === peerId)
  }

  async drop(peerId: PeerId): Promise<void> {
    await this.#kad.routingTable.remove(peerIdFromString(peerId))
  }

  async stop(): Promise<void> {
    clearInterval(this.#greeting)
    this.#addresses.close()
    await this.#kad.stop()
  }

  /** All of a small routing table. */
  #table(): readonly Libp2pPeerId[] {
    if (this.#listed?.length !== this.size) this.#listed = undefined
    this.#listed ??= [...this.#kad.routingTable.kb.toIterable()].map(({ peerId }) => peerId)
    return this.#listed
  }

  async #request(id: Libp2pPeerId, type: string, key: Uint8Array, options: WaitOptions): Promise<KadEvent | undefined> {
    using limit = deadline(PING_TIMEOUT_MS.maxTimeout, 'DHT request', options.signal)
    for await (const event of this.#kad.network.sendRequest(
      id,
      { type, key },
      { signal: limit.signal, path: NO_PATH }
    )) {
      if (event.name === 'PEER_RESPONSE') return event
    }
    return undefined
  }

  async #holds(id: Libp2pPeerId, cid: CID, options: WaitOptions): Promise<boolean> {
    const answer = await this.#request(id, GET_PROVIDERS, cid.multihash.bytes, options)
    return answer?.providers?.some(provider => provider.id.equals(this.#self)) ?? false
  }
}

function fresh(
  seen: Set<string>,
  preset: Preset,
  { id, multiaddrs }: { readonly id: Libp2pPeerId; readonly multiaddrs: ReadonlyArray<{ toString(): string }> }
): PeerAddress | undefined {
  const peerId = id.toString()
  if (seen.has(peerId)) return undefined
  const texts = new Set(multiaddrs.map(address => address.toString().replace(/\/p2p\/[^/]+$/, '')))
  const addresses = dialable(preset, [...texts]).slice(0, MAX_ADDRESSES_PER_PEER)
  if (addresses.length === 0) return undefined
  seen.add(peerId)
  return { peerId, addresses }
}

function pick(components: DhtComponents): object {
  const { peerId, privateKey, addressManager, connectionManager, events, logger, metrics, ping } = components
  return { peerId, privateKey, addressManager, connectionManager, events, logger, metrics, ping }
}
