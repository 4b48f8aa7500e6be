import type { PeerId } from '../core/address.ts'

/** What `/status` answers. */
export interface Status {
  readonly role: 'bootstrap' | 'peer'
  readonly peerId: PeerId
  readonly name?: string
  readonly network: string
  readonly version: string
  /** Multiaddrs with `/p2p/<peer id>`, ready to be handed to others. */
  readonly addresses: readonly string[]
  readonly uptimeSeconds: number
  readonly connections: { readonly inbound: number; readonly outbound: number }
  readonly routingTable: { readonly size: number }
  readonly topics: ReadonlyArray<{
    readonly key: string
    readonly members: number
    /** A peer also says the name and lists its members. */
    readonly name?: string
    readonly list?: ReadonlyArray<{ readonly peerId: PeerId; readonly name?: string; readonly verified: boolean }>
  }>
  readonly records: {
    /** Key–value records held for the network… */
    readonly count: number
    readonly bytes: number
    /** …and those this node wrote itself. */
    readonly own: number
    readonly providers: number
    readonly members: number
  }
  readonly disk: { readonly path: string | null; readonly bytes: number }
  readonly health: { readonly ok: boolean; readonly reason?: string }
}
