import type { Datastore, Pair } from 'interface-datastore'
import type { MusterError } from '../core/errors.ts'
import type { Closable } from '../core/lifecycle.ts'

/**
 * Where a node keeps what must outlive the process. The rows are an `interface-datastore` (the one libp2p takes),
 * shared by libp2p (`/peers`, `/dht`) and Muster (`/muster/…`).
 */
export interface Store extends Closable {
  readonly datastore: Datastore
  /** The folder, or undefined when everything is in memory. */
  readonly path: string | undefined
  /** Resolves with `data-not-writable` when a write has failed. No further write is taken: close, and start again. */
  readonly failure: Promise<MusterError>
  /** Bytes on disk; 0 in memory. */
  bytes(): Promise<number>
  /**
   * Opens, or creates, rows of their own that may be lost without the rest: damage does not stop the node. Closed with
   * the store; one name is opened once.
   */
  openTable(name: string): Promise<Table>
}

/** `sync`: what is acknowledged is on the disk. `fast`: it is with the operating system, and a power cut may lose it. */
export type Durability = 'sync' | 'fast'

export interface Table {
  readonly datastore: Datastore
  /** Set when the rows of an earlier run were damaged; the table has no more then than was taken over of them. */
  readonly damage?: {
    /** What is wrong, and where the damaged files are now. */
    readonly what: string
    readonly movedTo: string
    /** What of it is still readable. Not to be believed without a look. */
    rows(): AsyncIterable<Pair>
    /** What is wanted of it was taken over. Until then every start finds the damage again. */
    done(): Promise<void>
  }
}
