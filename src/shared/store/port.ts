import type { Datastore } from 'interface-datastore'
import type { Closable } from '../core/lifecycle.ts'

/**
 * Where a node keeps what must outlive the process. The rows are an `interface-datastore` (the one libp2p takes),
 * shared by libp2p (`/peers`, `/dht`) and Muster (`/muster/…`).
 */
export interface Store extends Closable {
  readonly datastore: Datastore
  /** The folder, or undefined when everything is in memory. */
  readonly path: string | undefined
  /** Bytes on disk; 0 in memory. */
  bytes(): Promise<number>
}
