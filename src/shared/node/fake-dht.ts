import { sha256 } from '@noble/hashes/sha2.js'
import type { PeerAddress, PeerId } from '../core/address.ts'
import type { Clock } from '../core/clock.ts'
import type { Undo } from '../core/lifecycle.ts'
import type { FakeNode } from './fake-node.ts'
import { type Patience, wait } from './fake-wait.ts'
import type { Dht, DhtCounts, WaitOptions } from './port.ts'
import { closestTo, type Position } from './position.ts'

/** Nodes that hold a row: Kademlia's k. */
const REPLICAS = 20
/** Providers one lookup yields: libp2p's `findProviders` stops at k too. */
const MAX_PROVIDERS_PER_LOOKUP = 20
/** How long a provider row is served. It is stored anew at a third of this. */
export const FAKE_PROVIDER_VALIDITY_MS = 30 * 60_000
/** Round trips of a lookup in a table of some hundred nodes. */
const LOOKUP_ROUND_TRIPS = 2

interface Row {
  readonly addresses: readonly string[]
  readonly expiresMs: number
}

/** Provider rows by key, then by provider: what survives a restart when the node has a store. */
export class ProviderRows {
  readonly #rows = new Map<string, Map<PeerId, Row>>()

  put(key: string, provider: PeerId, row: Row): void {
    const rows = this.#rows.get(key) ?? new Map<PeerId, Row>()
    this.#rows.set(key, rows)
    rows.set(provider, row)
  }

  delete(key: string, provider: PeerId): void {
    const rows = this.#rows.get(key)
    rows?.delete(provider)
    if (rows?.size === 0) this.#rows.delete(key)
  }

  at(key: string, nowMs: number): Array<PeerAddress> {
    this.#expire(key, nowMs)
    return [...(this.#rows.get(key) ?? [])].map(([peerId, { addresses }]) => ({ peerId, addresses }))
  }

  count(nowMs: number): number {
    for (const key of [...this.#rows.keys()]) this.#expire(key, nowMs)
    return this.#rows.values().reduce((sum, rows) => sum + rows.size, 0)
  }

  #expire(key: string, nowMs: number): void {
    const rows = this.#rows.get(key)
    for (const [provider, row] of rows ?? []) if (row.expiresMs <= nowMs) rows?.delete(provider)
    if (rows?.size === 0) this.#rows.delete(key)
  }
}

export interface FakeDhtInit {
  readonly clock: Clock
  readonly node: FakeNode
  readonly rows: ProviderRows
  /** Serves rows to others, and is told to others. */
  readonly isServer: boolean
  /** Counts itself as an answer when it knows nobody, as the first bootstrap must. */
  readonly answersAlone: boolean
  roundTrips(count: number, run: () => void): void
  canReach(other: FakeNode): boolean
}

/**
 * The outcome of Kademlia without its messages: a query sees every live server that can be reached by asking those it
 * knows, and a row lies with the `k` closest of them. Whoever was met once stays in the table.
 */
export class FakeDht implements Dht {
  readonly rows: ProviderRows
  readonly isServer: boolean
  readonly #init: FakeDhtInit
  readonly #table = new Set<FakeNode>()
  readonly #provided = new Map<string, Undo>()
  readonly #waiting = new Set<() => void>()

  constructor(init: FakeDhtInit) {
    this.#init = init
    this.rows = init.rows
    this.isServer = init.isServer
  }

  get size(): number {
    return this.#table.size
  }

  /** Takes a server that was met into the table. */
  meet(other: FakeNode): void {
    if (!other.dht.isServer || other.network !== this.#init.node.network) return
    for (const old of this.#table) if (old.isDead && old.peerId === other.peerId) this.#table.delete(old)
    this.#table.add(other)
    for (const ready of [...this.#waiting]) ready()
  }

  ready(options: WaitOptions = {}): Promise<void> {
    return wait(this.#patience('the routing table stays empty', options), settle => {
      const check = (): void => {
        if (this.size === 0 && !this.#init.answersAlone) return
        this.#waiting.delete(check)
        settle.resolve()
      }
      this.#waiting.add(check)
      check()
      return () => this.#waiting.delete(check)
    })
  }

  async answers(options: WaitOptions = {}): Promise<boolean> {
    await this.#lookup(options)
    return this.#reachable().length > 0 || this.#init.answersAlone
  }

  async provide(key: Uint8Array, options: WaitOptions = {}): Promise<readonly PeerId[]> {
    const text = keyText(key)
    if (!this.#provided.has(text)) {
      const refresh = (): void => void this.#store(key, text).catch(() => undefined) // the next turn tries again
      this.#provided.set(text, this.#init.clock.every(FAKE_PROVIDER_VALIDITY_MS / 3, refresh))
    }
    await this.#lookup(options)
    return this.#store(key, text)
  }

  async unprovide(key: Uint8Array): Promise<void> {
    const text = keyText(key)
    this.#provided.get(text)?.()
    this.#provided.delete(text)
    this.rows.delete(text, this.#init.node.peerId)
  }

  async forget(key: Uint8Array, peerId: PeerId): Promise<void> {
    this.rows.delete(keyText(key), peerId)
  }

  async *providers(key: Uint8Array, options: WaitOptions = {}): AsyncGenerator<PeerAddress> {
    const text = keyText(key)
    const seen = new Set<PeerId>([this.#init.node.peerId])
    const holders: Array<{ readonly rows: ProviderRows }> = [this]
    for (let asked = 0; seen.size <= MAX_PROVIDERS_PER_LOOKUP; asked++) {
      if (asked === 1) {
        await this.#lookup(options)
        holders.push(...this.#closest(key).map(node => node.dht))
      }
      const holder = holders[asked]
      if (holder === undefined) return
      for (const provider of holder.rows.at(text, this.#init.clock.now())) {
        if (seen.has(provider.peerId) || seen.size > MAX_PROVIDERS_PER_LOOKUP) continue
        seen.add(provider.peerId)
        yield provider
      }
    }
  }

  closest(target: Position, count: number): readonly PeerAddress[] {
    const known = [...this.#table].filter(({ isDead }) => !isDead)
    return closestTo(target, known, count, ({ peerId }) => peerId).map(({ peerId, addresses }) => ({
      peerId,
      addresses
    }))
  }

  async counts(): Promise<DhtCounts> {
    return { providers: this.rows.count(this.#init.clock.now()) }
  }

  /** Ends what repeats. */
  stop(): void {
    for (const undo of this.#provided.values()) undo()
    this.#provided.clear()
  }

  async #store(key: Uint8Array, text: string): Promise<readonly PeerId[]> {
    const { node, clock } = this.#init
    const closest = this.#closest(key)
    if (node.signal.aborted || !this.#provided.has(text)) return []
    const row = { addresses: node.addresses, expiresMs: clock.now() + FAKE_PROVIDER_VALIDITY_MS }
    this.rows.put(text, node.peerId, row)
    for (const holder of closest) holder.dht.rows.put(text, node.peerId, row)
    return closest.map(holder => holder.peerId)
  }

  #lookup(options: WaitOptions): Promise<void> {
    return wait(this.#patience('the query was not answered', options), settle => {
      this.#init.roundTrips(LOOKUP_ROUND_TRIPS, settle.resolve)
    })
  }

  #patience(what: string, { signal }: WaitOptions): Patience {
    const { clock, node } = this.#init
    return { clock, what, signals: [node.signal, signal] }
  }

  /** Live servers found by asking those known, and those they know. */
  #reachable(): FakeNode[] {
    const { node, canReach } = this.#init
    const found = new Set<FakeNode>([node])
    for (const asked of found) for (const next of asked.dht.#table) if (canReach(next)) found.add(next)
    found.delete(node)
    return [...found]
  }

  #closest(key: Uint8Array): FakeNode[] {
    return closestTo(sha256(key), this.#reachable(), REPLICAS, ({ peerId }) => peerId)
  }
}

function keyText(key: Uint8Array): string {
  return String.fromCharCode(...key)
}
