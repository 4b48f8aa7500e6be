import { Key } from 'interface-datastore'
import { type DialAddress, type PeerId, parseAddress } from '../core/address.ts'
import { sleep, systemClock } from '../core/clock.ts'
import { asError, isMusterError } from '../core/errors.ts'
import type { Scope } from '../core/lifecycle.ts'
import type { Log } from '../core/log.ts'
import { systemRandom } from '../core/random.ts'
import { deadline } from '../core/signals.ts'
import { topicOf } from '../core/topic.ts'
import { createFeed, type Feed } from '../gossip/feed.ts'
import { type OpenRecord, openBroadcast } from '../gossip/open.ts'
import { type History, openHistory } from '../history/history.ts'
import { createIdentity, type Identity, identityFrom, unseal } from '../node/keys.ts'
import { createLibp2pNode, type Libp2pNode } from '../node/libp2p.server.ts'
import type { Libp2pNodeOptions } from '../node/options.ts'
import type { Preset } from '../node/presets.ts'
import { openProof } from '../node/pubsub.ts'
import { createSupervisor, type Supervisor } from '../node/supervisor.ts'
import { lazyRecords } from '../records/lazy.ts'
import { openRecords, type Records } from '../records/records.ts'
import { openRecord } from '../roster/record.ts'
import { createRoster, type Roster } from '../roster/roster.ts'
import { RosterRows } from '../roster/rows.ts'
import { type Metrics, silentMetrics } from '../status/metrics.ts'
import type { Status } from '../status/status.ts'
import { createKnownAddresses } from '../store/known.ts'
import { memoryStore } from '../store/memory.ts'
import type { Durability, Store } from '../store/port.ts'
import { programVersion } from './version.server.ts'

/** What both programs are told. @internal */
export interface HostOptions {
  readonly role: 'bootstrap' | 'peer'
  readonly name?: string | undefined
  readonly listen: string
  readonly announce: readonly string[]
  readonly bootstrap: readonly string[]
  readonly network: string
  readonly preset: Preset
  readonly http: string
  /** The data folder; the platform's for the role when undefined. */
  readonly data: string | undefined
  readonly memory: boolean
  readonly durability: Durability
  /** Names of topics whose broadcasts are passed on and kept, joined or not. */
  readonly keep: readonly string[]
  readonly openDefaultStore: () => Promise<Store>
  readonly log: Log
  readonly tuning: HostTuning
}

/** What tests and simulations of failures set, beyond what users do. */
export interface HostTuning {
  /** Validity of provider and member records, in milliseconds; 30 min by default. */
  readonly validityMs?: number
  readonly maxConnections?: number
  /** Members of one topic a peer keeps connections to. */
  readonly maxMesh?: number
}

/** What a bootstrap and a peer have in common: store, identity, node, roster, supervision, status. @internal */
export interface Host {
  readonly store: Store
  readonly node: Libp2pNode
  readonly roster: Roster
  readonly feed: Feed
  readonly history: History
  readonly records: Records
  readonly supervisor: Supervisor
  readonly metrics: Metrics
  /** Own addresses with `/p2p/<peer id>`. */
  readonly addresses: readonly string[]
  readonly httpUrl: string | undefined
  status(): Promise<Status>
}

/** Rows under this key keep the port of the last run, so that others find a peer where it was. */
const LAST_PORT = new Key('/muster/port')
/** Milliseconds in which a peer that has just started does nothing but find its first member. */
const PEER_QUIET_START_MS = 250
/** Less than `STATUS_DEADLINE_MS`: a status must be able to say that the DHT hangs. */
const HEALTH_TIMEOUT_MS = 2_500

/** Opens what both programs have in common; the scope closes it in the other order. @internal */
export async function openHost(scope: Scope, options: HostOptions, topics: () => Status['topics']): Promise<Host> {
  const { role, log, tuning } = options
  const startedAt = performance.now()
  const wantsMetrics = options.http !== 'off'
  const [store, metrics] = await Promise.all([
    openStoreOf(options),
    wantsMetrics
      ? import('../status/prometheus.server.ts').then(({ createMetrics }) => createMetrics({ log }))
      : silentMetrics
  ])
  scope.own(store)
  void store.failure.then(err => {
    log.error({ err }, 'the data folder cannot be written any more: closing')
    return scope.close(err).catch(() => undefined) // the parts cannot write their last words either
  })
  const identity = await identityOf(store)
  const node = scope.own(
    await listen(store, {
      identity,
      network: options.network,
      preset: options.preset,
      listen: [parseAddress(options.listen).address],
      announce: options.announce.map(text => parseAddress(text).address),
      store,
      version: programVersion(),
      mayBeAlone: role === 'bootstrap',
      quietStartMs: role === 'bootstrap' ? 0 : PEER_QUIET_START_MS,
      log,
      ...(tuning.validityMs === undefined ? {} : { providerValidityMs: tuning.validityMs }),
      ...(tuning.maxConnections === undefined ? {} : { maxConnections: tuning.maxConnections }),
      ...('libp2p' in metrics ? { libp2pMetrics: metrics.libp2p } : {}),
      onConnectionRefused: why => metrics.increment('muster_connections_refused_total', { reason: why }),
      onDhtRefusal: why => metrics.increment('muster_dht_requests_refused_total', { reason: why })
    })
  )
  const roster = scope.own(
    await createRoster(
      { node, unseal, rows: new RosterRows(store.datastore), metrics, log },
      {
        keepsEveryTopic: role === 'bootstrap',
        ...(tuning.validityMs === undefined ? {} : { validityMs: tuning.validityMs })
      }
    )
  )
  const openRecordAt: OpenRecord = (envelope, atMs) => openRecord(envelope, unseal, atMs)
  const feed = scope.own(
    await createFeed({
      node,
      openRecord: openRecordAt,
      datastore: store.datastore,
      onJudged: outcome => metrics.increment('muster_broadcasts_total', { direction: 'in', outcome }),
      onSaid: outcome => metrics.increment('muster_broadcasts_total', { direction: 'out', outcome }),
      log
    })
  )
  const keep = await Promise.all(options.keep.map(async name => (await topicOf(name)).id))
  const history = scope.own(
    await openHistory(
      {
        node,
        datastore: store.datastore,
        open: (proof, topicId) => openBroadcast(proof, topicId, node.network, { openProof, openRecord: openRecordAt }),
        membership: roster,
        onDropped: (reason, count) => metrics.increment('muster_history_dropped_total', { reason }, count),
        onAsked: (direction, outcome) => metrics.increment('muster_history_asks_total', { direction, outcome }),
        log
      },
      { keep }
    )
  )
  for (const topicId of new Set(keep)) scope.defer(feed.subscribe(topicId, broadcast => history.take(broadcast)))
  const openOwnRecords = async (signal: AbortSignal): Promise<Records> => {
    if (role === 'peer') await sleep(systemClock, PEER_QUIET_START_MS, signal)
    return await openRecords({
      node,
      table: await store.openTable('records'),
      unseal,
      log,
      signal,
      onRequest: (kind, outcome) => metrics.increment('muster_record_requests_total', { kind, outcome }),
      onOperation: (kind, outcome) => metrics.increment('muster_record_operations_total', { kind, outcome })
    })
  }
  const records = scope.own(
    lazyRecords(openOwnRecords, thrown => {
      if (!scope.signal.aborted) log.error({ err: asError(thrown) }, 'records cannot be opened')
    })
  )
  const supervisor = scope.own(
    createSupervisor(
      {
        node,
        known: createKnownAddresses(store.datastore),
        clock: systemClock,
        random: systemRandom,
        log,
        onRedial: () => metrics.increment('muster_bootstrap_redials_total')
      },
      others(options.bootstrap, identity.peerId)
    )
  )

  async function health(signal?: AbortSignal): Promise<Status['health']> {
    using limit = deadline(HEALTH_TIMEOUT_MS, 'health', signal)
    const ok = await node.dht.answers({ signal: limit.signal }).catch(() => false)
    return ok ? { ok } : { ok, reason: node.dht.size === 0 ? 'no other node is known yet' : 'the DHT does not answer' }
  }

  async function status(): Promise<Status> {
    const connections = node.connections()
    const inbound = connections.filter(connection => connection.inbound).length
    const [{ providers }, bytes, healthNow] = await Promise.all([node.dht.counts(), store.bytes(), health()])
    return {
      role,
      peerId: node.peerId,
      ...(options.name === undefined ? {} : { name: options.name }),
      network: options.network,
      version: programVersion(),
      addresses: host.addresses,
      uptimeSeconds: Math.round((performance.now() - startedAt) / 1000),
      connections: { inbound, outbound: connections.length - inbound },
      routingTable: { size: node.dht.size },
      topics: topics(),
      records: {
        count: records.counts.records,
        bytes: records.counts.bytes,
        own: records.counts.own,
        providers,
        members: roster.counts.members
      },
      disk: { path: store.path ?? null, bytes },
      health: healthNow
    }
  }

  metrics.set('muster_info', 1, { version: programVersion() })
  metrics.collect('muster_uptime_seconds', () => (performance.now() - startedAt) / 1000)
  metrics.collect('muster_topics', () => roster.counts.topics)
  metrics.collect('muster_members', () => roster.counts.members)
  metrics.collect('muster_history_messages', () => history.counts.messages)
  metrics.collect('muster_history_bytes', () => history.counts.bytes)
  metrics.collect('muster_broadcast_authors', () => feed.authors)
  metrics.collect('muster_dht_table_size', () => node.dht.size)
  metrics.collect('muster_dht_providers', async () => (await node.dht.counts()).providers)
  metrics.collect('muster_records', () => records.counts.records)
  metrics.collect('muster_record_bytes', () => records.counts.bytes)
  metrics.collect('muster_own_records', () => records.counts.own)
  metrics.collect('muster_bootstrap_connected', () => supervisor.up.length)
  metrics.collect('muster_store_bytes', () => store.bytes())

  const server = wantsMetrics
    ? scope.own(
        await (await import('../status/http.server.ts')).createStatusServer(
          { status, metrics: () => metrics.text(), health: async signal => healthAnswer(await health(signal)) },
          { listen: options.http, log }
        )
      )
    : undefined
  const host: Host = {
    store,
    node,
    roster,
    feed,
    history,
    records,
    supervisor,
    metrics,
    get addresses() {
      return node.addresses.map(address => `${address}/p2p/${node.peerId}`)
    },
    httpUrl: server?.url,
    status
  }
  return host
}

function healthAnswer({ ok, reason }: Status['health']): { ok: boolean; reason?: string } {
  return reason === undefined ? { ok } : { ok, reason }
}

async function openStoreOf({ memory, data, durability, log, openDefaultStore }: HostOptions): Promise<Store> {
  if (memory) return memoryStore()
  if (data === undefined) return await openDefaultStore()
  const { openStore } = await import('../store/level.server.ts') // LevelDB: not loaded by who keeps nothing
  return await openStore(data, { log, durability })
}

async function identityOf(store: Store): Promise<Identity> {
  if (store.path === undefined) return await createIdentity()
  const { loadIdentity } = await import('../store/identity.server.ts')
  const generate = async (): Promise<Uint8Array> => (await createIdentity()).bytes
  return identityFrom(await loadIdentity(store.path, { generate, check: identityFrom }))
}

/** Starts the node; with port 0 at the port of the last run, if that is free, so that remembered addresses stay true. */
async function listen(store: Store, options: Libp2pNodeOptions): Promise<Libp2pNode> {
  const [address = ''] = options.listen
  if (store.path === undefined || !address.endsWith('/tcp/0')) return await createLibp2pNode(options)
  const isKnown = await store.datastore.has(LAST_PORT)
  const last = isKnown ? new TextDecoder().decode(await store.datastore.get(LAST_PORT)) : '0'
  const node = await createLibp2pNode({ ...options, listen: [address.replace(/0$/, last)] }).catch(thrown => {
    if (last === '0' || !isMusterError(thrown, 'port-in-use')) throw thrown
    return createLibp2pNode(options)
  })
  const port = /\/tcp\/(\d+)$/.exec(node.addresses.at(-1) ?? '')?.[1]
  if (port !== undefined && port !== last) await store.datastore.put(LAST_PORT, new TextEncoder().encode(port))
  return node
}

/** The bootstraps to keep connected, ourselves left out. */
function others(texts: readonly string[], self: PeerId): DialAddress[] {
  return texts.map(parseAddress).filter(({ peerId }) => peerId !== self)
}
