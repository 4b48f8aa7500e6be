import type { PeerId as Libp2pPeerId, PeerStore } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { CID } from 'multiformats/cid'

/** What kad-dht keeps to itself and we need; the versions are pinned. */
export interface KadInternals {
  readonly protocol: string
  readonly components: { readonly peerStore: PeerStore }
  readonly routingTable: {
    readonly size: number
    remove(id: Libp2pPeerId): Promise<void>
    readonly kb: { toIterable(): Iterable<{ readonly peerId: Libp2pPeerId }> }
    addEventListener(type: 'peer:add' | 'peer:remove', listener: () => void): void
    removeEventListener(type: 'peer:add', listener: () => void): void
    closestPeers(key: Uint8Array, options: { count: number }): Libp2pPeerId[]
  }
  readonly providers: {
    getProviders(key: CID): Promise<Libp2pPeerId[]>
    removeProvider(key: CID, id: Libp2pPeerId): Promise<void>
  }
  readonly network: { sendRequest(to: Libp2pPeerId, message: object, options: object): AsyncIterable<KadEvent> }
  readonly queryManager: {
    run(
      key: Uint8Array,
      query: (context: { peer: { id: Libp2pPeerId }; signal: AbortSignal; path: unknown }) => AsyncIterable<KadEvent>,
      options: object
    ): AsyncIterable<KadEvent>
  }
  provide(key: CID, options: object): AsyncIterable<KadEvent>
  cancelReprovide(key: CID): Promise<void>
  onPeerConnect(peer: { id: Libp2pPeerId; multiaddrs: unknown[] }): Promise<void>
  addEventListener(
    type: 'peer',
    listener: (event: CustomEvent<{ id: Libp2pPeerId; multiaddrs: Multiaddr[] }>) => void
  ): void
  start(): Promise<void>
  stop(): Promise<void>
}

export interface KadEvent {
  readonly name: string
  readonly messageName?: string
  readonly from?: Libp2pPeerId
  readonly providers?: ReadonlyArray<{
    readonly id: Libp2pPeerId
    readonly multiaddrs: ReadonlyArray<{ toString(): string }>
  }>
}
