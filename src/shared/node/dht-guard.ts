import type { Connection, Peer, PeerData, PeerId, PeerStore, Stream, StreamMessageEvent } from '@libp2p/interface'
import type { ConnectionManager, Registrar } from '@libp2p/interface-internal'
import { CODE_P2P, type Multiaddr } from '@multiformats/multiaddr'
import { MusterError } from '../core/errors.ts'
import { TokenBuckets } from './buckets.ts'
import {
  DHT_STREAMS_BURST,
  DHT_STREAMS_PER_SECOND,
  MAX_ADDRESSES_PER_PEER,
  MAX_DHT_ANSWER_BYTES,
  MAX_DHT_FRAME_BYTES,
  MAX_DHT_FRAMES_PER_STREAM,
  MAX_KNOWN_PEERS,
  MAX_PEER_ADDRESS_BYTES
} from './limits.ts'
import { withOverrides } from './overrides.ts'

export type DhtRefusal = 'frame' | 'rate' | 'addresses'

/** The registrar as kad-dht sees it: every inbound DHT stream is metered before kad-dht reads a byte of it (T24). */
export function meteredRegistrar(
  registrar: Registrar,
  now: () => number,
  onRefusal: (why: DhtRefusal) => void
): Registrar {
  const buckets = new TokenBuckets(DHT_STREAMS_PER_SECOND, DHT_STREAMS_BURST, MAX_KNOWN_PEERS)
  return withOverrides(registrar, {
    handle: (protocol, handler, options) =>
      registrar.handle(
        protocol,
        (stream: Stream, connection: Connection) => {
          if (!buckets.take(connection.remotePeer.toString(), now())) {
            onRefusal('rate')
            stream.abort(new MusterError('limit-reached', 'too many DHT requests'))
            return
          }
          meter(stream, REQUESTS, () => onRefusal('frame'))
          return handler(stream, connection)
        },
        options
      )
  })
}

/**
 * The connection manager as kad-dht sees it: what comes back on a stream that kad-dht opened is metered too. Anybody in
 * the routing table is asked, and kad-dht reads an endless length byte by byte, 4 s of CPU for a megabyte (T24, T25).
 */
export function meteredAnswers(manager: ConnectionManager, onRefusal: (why: DhtRefusal) => void): ConnectionManager {
  return withOverrides(manager, {
    async openStream(target, protocol, options) {
      const stream = await manager.openStream(target, protocol, options)
      meter(stream, ANSWERS, () => onRefusal('frame'))
      return stream
    }
  })
}

interface FrameLimits {
  readonly maxFrameBytes: number
  readonly maxFrames: number
}
const REQUESTS: FrameLimits = { maxFrameBytes: MAX_DHT_FRAME_BYTES, maxFrames: MAX_DHT_FRAMES_PER_STREAM }
/** kad-dht asks one question on a stream. */
const ANSWERS: FrameLimits = { maxFrameBytes: MAX_DHT_ANSWER_BYTES, maxFrames: 1 }

/** Resets the stream once it breaks a limit, before kad-dht sees a byte of what does. */
function meter(stream: Stream, limits: FrameLimits, onRefusal: () => void): void {
  const frames = new FrameMeter(limits)
  stream.addEventListener('message', (event: StreamMessageEvent) => {
    // before kad-dht listens it has said nothing: it would miss the beginning of this, and take the rest for lengths
    const isHeard = stream.listenerCount('message') > 1
    if (isHeard && frames.push(event.data.subarray())) return
    event.stopImmediatePropagation()
    onRefusal()
    stream.abort(new MusterError('protocol-violation', 'a DHT frame over the limit'))
  })
}

/** Follows varint-length-prefixed frames without keeping them. */
export class FrameMeter {
  readonly #limits: FrameLimits
  #left = 0
  #length = 0
  #shift = 0
  #frames = 0

  constructor(limits: FrameLimits = REQUESTS) {
    this.#limits = limits
  }

  /** False once a prefix claims more than a frame may have, or there are too many frames. */
  push(chunk: Uint8Array): boolean {
    let at = 0
    while (at < chunk.length) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, chunk.length - at)
        this.#left -= skipped
        at += skipped
        continue
      }
      const byte = chunk[at++] as number
      this.#length += (byte & 0x7f) * 2 ** this.#shift
      this.#shift += 7
      if ((byte & 0x80) !== 0) {
        if (this.#shift > 21) return false
        continue
      }
      this.#frames++
      if (this.#length > this.#limits.maxFrameBytes || this.#frames > this.#limits.maxFrames) return false
      this.#left = this.#length
      this.#length = 0
      this.#shift = 0
    }
    return true
  }
}

/** Milliseconds a merge that brought nothing new is not repeated. */
const MERGE_MEMORY_MS = 60_000
/** Addresses and protocols remembered of one peer's merges; with their length, 6 kB for a peer at most. */
const MAX_REMEMBERED_ITEMS = 2 * MAX_ADDRESSES_PER_PEER

/**
 * The peer store as kad-dht and the connections see it. Addresses per peer are capped, signed ones kept first (T24);
 * a merge that was made a moment ago is skipped (T28: 490 merges in one put, 98 % of them for nothing).
 */
export function cappedPeerStore(store: PeerStore, now: () => number, onRefusal: (why: DhtRefusal) => void): PeerStore {
  const merged = new Map<string, { readonly at: number; readonly items: Set<string> }>()

  function isKnown(id: PeerId, data: PeerData): boolean {
    const [field, ...others] = Object.keys(data)
    if (others.length > 0 || (field !== 'protocols' && field !== 'multiaddrs')) return false
    const given = [...((data as { [name: string]: Iterable<unknown> })[field] ?? [])]
    if (given.length > MAX_REMEMBERED_ITEMS) return false // before they are cut: 6,500 addresses fit into one frame
    const items = given.map(String)
    // an honest address is no longer as text than the longest may be in bytes
    if (items.some(item => item.length > MAX_PEER_ADDRESS_BYTES)) return false
    const key = id.toString()
    let entry = merged.get(key)
    if (entry === undefined || now() - entry.at > MERGE_MEMORY_MS) {
      entry = { at: now(), items: new Set() }
      merged.delete(key)
      merged.set(key, entry)
      if (merged.size > MAX_KNOWN_PEERS) merged.delete(merged.keys().next().value as string)
    }
    if (items.every(item => entry.items.has(item))) return true
    if (entry.items.size + items.length > MAX_REMEMBERED_ITEMS) entry.items.clear()
    for (const item of items) entry.items.add(item)
    return false
  }

  async function capped(id: PeerId, data: PeerData): Promise<PeerData> {
    const given = [
      ...(data.addresses ?? []),
      ...(data.multiaddrs ?? []).map(each => ({ multiaddr: each, isCertified: false }))
    ]
    if (given.length === 0) return data
    const fitting = given
      .slice(0, MAX_ADDRESSES_PER_PEER)
      .filter(address => address.multiaddr.bytes.length <= MAX_PEER_ADDRESS_BYTES)
      .map(address => ({ ...address, multiaddr: withoutPeer(address.multiaddr, id) }))
    if (fitting.length < given.length) onRefusal('addresses')
    const had = (await peerOf(store, id))?.addresses ?? []
    const fresh = fitting.filter(address => !had.some(old => old.multiaddr.equals(address.multiaddr)))
    const { multiaddrs: _, addresses: __, ...rest } = data
    if (had.length + fresh.length <= MAX_ADDRESSES_PER_PEER) return { ...rest, addresses: fitting }
    const certified = had.filter(address => address.isCertified)
    const rumours = had.filter(address => !address.isCertified)
    await store.patch(id, { addresses: [...certified, ...fresh, ...rumours].slice(0, MAX_ADDRESSES_PER_PEER) })
    return rest
  }

  return withOverrides(store, {
    async merge(id, data, options) {
      if (isKnown(id, data)) {
        const known = await peerOf(store, id)
        if (known !== undefined) return known
      }
      return await store.merge(id, await capped(id, data), options)
    },
    async patch(id, data, options) {
      const { multiaddrs, ...rest } = data
      const addresses = (data.addresses ?? multiaddrs?.map(each => ({ multiaddr: each, isCertified: false })))?.slice(
        0,
        MAX_ADDRESSES_PER_PEER
      )
      return await store.patch(id, addresses === undefined ? rest : { ...rest, addresses }, options)
    }
  })
}

/** The peer store for kad-dht's answers: a provider whose entry is gone has no addresses, instead of failing the whole topic (T2). */
export function forgivingPeerStore(store: PeerStore): PeerStore {
  return withOverrides(store, {
    async get(id) {
      return (await peerOf(store, id)) ?? { id, addresses: [], protocols: [], metadata: new Map(), tags: new Map() }
    }
  })
}

async function peerOf(store: PeerStore, id: PeerId): Promise<Peer | undefined> {
  try {
    return await store.get(id)
  } catch (thrown) {
    if ((thrown as Error).name === 'NotFoundError') return undefined
    throw thrown
  }
}

function withoutPeer(address: Multiaddr, id: PeerId): Multiaddr {
  const last = address.getComponents().at(-1)
  return last?.code === CODE_P2P && last.value === id.toString() ? address.decapsulateCode(CODE_P2P) : address
}
