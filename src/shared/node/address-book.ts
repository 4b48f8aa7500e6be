import type { Libp2pEvents, Peer, PeerId, PeerStore, PeerUpdate, TypedEventTarget } from '@libp2p/interface'
import { MAX_ADDRESSES_PER_PEER, MAX_KNOWN_PEERS } from './limits.ts'

export interface AddressBookNeeds {
  readonly peerStore: Pick<PeerStore, 'get'>
  readonly events: Pick<TypedEventTarget<Libp2pEvents>, 'addEventListener' | 'removeEventListener'>
}

/** Addresses from the peer store without a read of the database for each: twenty nodes are named in every answer. */
export class AddressBook {
  readonly #store: Pick<PeerStore, 'get'>
  readonly #addresses = new Map<string, readonly string[]>()
  readonly #undo: () => void

  constructor(components: AddressBookNeeds) {
    this.#store = components.peerStore
    const onUpdate = ({ detail: { peer } }: CustomEvent<PeerUpdate>): void => this.#keep(peer)
    components.events.addEventListener('peer:update', onUpdate)
    this.#undo = () => components.events.removeEventListener('peer:update', onUpdate)
  }

  /** Empty for a peer that is asked for the first time since the start; known a moment later. */
  of(id: PeerId): readonly string[] {
    const known = this.#addresses.get(id.toString())
    if (known !== undefined) return known
    this.#set(id, []) // asked for once: what changes later is told
    this.#store.get(id).then(
      peer => this.#keep(peer),
      () => undefined // not known at all: it will be, or it is nobody
    )
    return []
  }

  close(): void {
    this.#undo()
  }

  #keep({ id, addresses }: Peer): void {
    const texts = addresses.map(({ multiaddr }) => multiaddr.toString().replace(/\/p2p\/[^/]+$/, ''))
    this.#set(id, [...new Set(texts)].slice(0, MAX_ADDRESSES_PER_PEER))
  }

  #set(id: PeerId, addresses: readonly string[]): void {
    this.#addresses.delete(id.toString())
    this.#addresses.set(id.toString(), addresses)
    if (this.#addresses.size > MAX_KNOWN_PEERS) {
      this.#addresses.delete(this.#addresses.keys().next().value as string)
    }
  }
}
