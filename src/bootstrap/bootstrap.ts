import type { PeerId } from '../shared/core/address.ts'
import { systemClock } from '../shared/core/clock.ts'
import { build, type Closable } from '../shared/core/lifecycle.ts'
import { type Log, silentLog } from '../shared/core/log.ts'
import { checkOptions } from '../shared/core/options.ts'
import { type HostTuning, openHost } from '../shared/host/host.server.ts'
import type { Libp2pNode } from '../shared/node/libp2p.server.ts'
import type { Records } from '../shared/records/records.ts'
import type { Status } from '../shared/status/status.ts'
import { BOOTSTRAP_SETTINGS, type BootstrapSettings } from './options.ts'

/** What `createBootstrap` takes; `docs` list every setting with its default. */
export type BootstrapOptions = BootstrapSettings & {
  /** Keep nothing on disk: a new identity each time. */
  readonly memory?: boolean
  /** Where log lines go; nowhere by default. */
  readonly log?: Log
  /** For tests and simulations. */
  readonly tuning?: HostTuning
}

/** A node at a well-known address: keeps the DHT alive and on disk, and every topic's roster. */
export interface Bootstrap extends Closable {
  readonly peerId: PeerId
  /** Multiaddrs with `/p2p/<peer id>`, ready to be handed to peers. */
  readonly addresses: readonly string[]
  /** Where health, status and metrics are served; undefined when HTTP is off. */
  readonly httpUrl: string | undefined
  readonly node: Libp2pNode
  /** Where it keeps its data; undefined when it keeps nothing on disk. */
  readonly dataFolder: string | undefined
  /** All records held here, for export and import. @internal */
  readonly archive: Records
  /** Resolves once the DHT answers. */
  ready(signal?: AbortSignal): Promise<void>
  status(): Promise<Status>
}

/** How often the log says how things are, in milliseconds. */
const STATUS_LINE_MS = 15 * 60_000

/**
 * Starts a bootstrap; it listens when this resolves.
 * @throws MusterError `options-invalid` | `port-in-use` | `address-unavailable` | `data-locked` | `data-not-writable` |
 *   `data-corrupt` | `identity-corrupt`.
 */
export async function createBootstrap(options: BootstrapOptions = {}): Promise<Bootstrap> {
  const { memory = false, log = silentLog, tuning = {}, ...settings } = options
  const values = checkOptions(BOOTSTRAP_SETTINGS, settings)
  return await build(async scope => {
    const openDefaultStore = async () => {
      const { defaultDataFolder } = await import('../shared/store/paths.server.ts')
      const { openStore } = await import('../shared/store/level.server.ts')
      return await openStore(defaultDataFolder('bootstrap', 1), { log, durability: values.durability })
    }
    const host = await openHost(scope, { ...values, role: 'bootstrap', memory, openDefaultStore, log, tuning }, () =>
      topicsOf(host.roster.topics())
    )
    const { node, roster, supervisor } = host
    scope.defer(supervisor.on('up', ({ peerId }) => void roster.follow(peerId)))
    scope.defer(supervisor.on('problem', err => log.warn({ err }, 'bootstrap not reached')))
    for (const peerId of supervisor.up) void roster.follow(peerId)
    const sayStatus = async (): Promise<void> => {
      const { connections, routingTable, topics, records, disk, health } = await host.status()
      log.info({ connections, routingTable, topics: topics.length, records, disk, health }, 'status')
    }
    scope.defer(systemClock.every(STATUS_LINE_MS, () => void sayStatus().catch(err => log.error({ err }, 'no status'))))
    log.info({ peerId: node.peerId, addresses: host.addresses, http: host.httpUrl }, 'bootstrap listens')
    return {
      peerId: node.peerId,
      get addresses() {
        return host.addresses
      },
      httpUrl: host.httpUrl,
      node,
      dataFolder: host.store.path,
      archive: host.records,
      ready: async signal => await node.dht.ready(signal === undefined ? {} : { signal }),
      status: () => host.status(),
      signal: scope.signal,
      close: () => scope.close(),
      [Symbol.asyncDispose]: () => scope.close()
    }
  })
}

function topicsOf(topics: ReadonlyArray<{ readonly topicId: string; readonly members: number }>): Status['topics'] {
  return topics.map(({ topicId, members }) => ({ key: topicId, members }))
}
