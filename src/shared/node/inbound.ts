import type { Libp2p } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { MusterError } from '../core/errors.ts'
import { type OpenConnection, planEviction, prefixOf } from './admission.ts'
import { TokenBuckets } from './buckets.ts'
import * as limits from './limits.ts'
import type { Libp2pNodeOptions } from './options.ts'

/** Counts new inbound connections per network prefix. */
export class InboundGate {
  readonly maxConnections: number
  readonly #buckets: TokenBuckets
  readonly #onRefused: ((why: 'rate') => void) | undefined

  constructor(options: Libp2pNodeOptions) {
    this.maxConnections = options.maxConnections ?? limits.MAX_CONNECTIONS
    this.#onRefused = options.onConnectionRefused
    this.#buckets = new TokenBuckets(
      limits.INBOUND_PER_PREFIX_PER_SECOND,
      limits.INBOUND_PER_PREFIX_BURST,
      limits.MAX_PREFIXES
    )
  }

  denies(remote: Multiaddr): boolean {
    if (this.#buckets.take(prefixAt(remote), Date.now())) return false
    this.#onRefused?.('rate')
    return true
  }
}

/** Closes the least useful inbound connection whenever there are more than `max`; libp2p would refuse the newcomer (T13). */
export function evictWhenFull(libp2p: Libp2p, max: number, ourProtocols: string, onEvicted: () => void): void {
  libp2p.addEventListener('connection:open', () => {
    if (libp2p.getConnections().length <= max) return
    const victim = planEviction(Date.now(), openConnections(libp2p, ourProtocols))
    if (victim === undefined) return
    onEvicted()
    const evicted = libp2p.getConnections().find(connection => connection.id === victim.id)
    evicted?.abort(new MusterError('limit-reached', 'making room for another connection'))
  })
}

function openConnections(libp2p: Libp2p, ourProtocols: string): OpenConnection[] {
  return libp2p
    .getConnections()
    .filter(connection => connection.status === 'open')
    .map(connection => ({
      id: connection.id,
      peerId: connection.remotePeer.toString(),
      inbound: connection.direction === 'inbound',
      prefix: prefixAt(connection.remoteAddr),
      openedAt: connection.timeline.open,
      isUsed: connection.streams.some(
        ({ protocol }) => protocol.startsWith(ourProtocols) && !protocol.startsWith(`${ourProtocols}kad/`)
      )
    }))
}

function prefixAt(remote: Multiaddr): string {
  return prefixOf(remote.getComponents()[0]?.value ?? '')
}
