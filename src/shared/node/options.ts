import type { Log } from '../core/log.ts'
import type { Store } from '../store/port.ts'
import type { DhtRefusal } from './dht-guard.ts'
import type { Identity } from './keys.ts'
import type { Preset } from './presets.ts'

/** What a libp2p node is made of. */
export interface Libp2pNodeOptions {
  readonly identity: Identity
  /** Part of every protocol id: nodes of different networks never mix. */
  readonly network: string
  readonly preset: Preset
  /** Multiaddrs to listen on. */
  readonly listen: readonly string[]
  /** Multiaddrs told to others first, for a host behind a port mapping. */
  readonly announce?: readonly string[]
  readonly store: Store
  readonly version?: string
  /** How long provider records are served; {@link PROVIDER_VALIDITY_MS} by default. */
  readonly providerValidityMs?: number
  /** True for a bootstrap: the DHT answers even when no other node is known. */
  readonly mayBeAlone?: boolean
  /**
   * Milliseconds after the start in which the DHT is not loaded and nobody is identified, so that this does not delay
   * what a newcomer does first. 0 by default.
   */
  readonly quietStartMs?: number
  /** Open connections; {@link MAX_CONNECTIONS} by default. */
  readonly maxConnections?: number
  readonly log?: Log
  /** A factory of `@libp2p/prometheus-metrics`. */
  readonly libp2pMetrics?: unknown
  readonly onConnectionRefused?: (why: 'rate' | 'evicted') => void
  readonly onDhtRefusal?: (why: DhtRefusal) => void
}
