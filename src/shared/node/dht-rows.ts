import { BaseDatastore } from 'datastore-core'
import type { Datastore, Key, KeyQuery, Pair, Query } from 'interface-datastore'
import { decode as decodeVarint } from 'uint8-varint'
import { equalBytes } from '../core/bytes.ts'
import { MusterError } from '../core/errors.ts'
import { type Random, sample } from '../core/random.ts'
import {
  MAX_KEYS_PER_PROVIDER,
  MAX_PROVIDER_RECORDS,
  MAX_PROVIDERS_PER_ANSWER,
  MAX_PROVIDERS_PER_KEY
} from './limits.ts'

/** Rows of PUT_VALUE, which lets an older record replace a newer one (T5). */
const VALUES = '/dht/record/'
const PROVIDERS = '/dht/provider/'
/** Rows of the peer store whose last bytes are remembered, to skip writing them again. */
const MAX_REMEMBERED_ROWS = 5_000

/** Rows of the DHT that this node holds. */
export interface RowCounts {
  readonly providers: number
}

export interface RowLimits {
  readonly selfId: string
  readonly validityMs: number
  readonly now: () => number
  readonly random: Random
}

/**
 * The datastore as libp2p sees it. What kad-dht leaves open is closed here, by key prefix: provider rows are counted
 * and capped (T14), expired ones are hidden from answers at once and not only after the hourly sweep (T27), and a row
 * that already holds the same bytes is not written again (T28: 98 % of the writes of one put).
 */
export class GuardedRows extends BaseDatastore {
  readonly #inner: Datastore
  readonly #limits: RowLimits
  readonly #perKey = new Map<string, number>()
  readonly #perPeer = new Map<string, number>()
  readonly #lastPeerRow = new Map<string, Uint8Array>()
  readonly #turns = new Map<string, Promise<unknown>>()
  #providers = 0
  writes = 0

  constructor(inner: Datastore, limits: RowLimits) {
    super()
    this.#inner = inner
    this.#limits = limits
  }

  get counts(): RowCounts {
    return { providers: this.#providers }
  }

  /** True when this node holds a provider record of the peer. */
  isProvider(peerId: string): boolean {
    return this.#perPeer.has(peerId)
  }

  /** Counts what an earlier run left, and drops our own provider rows: what we provide now is said anew. */
  async load(): Promise<void> {
    for await (const { key, value } of this.#inner.query({ prefix: PROVIDERS })) {
      const { peerId } = providerRow(key.toString())
      if (peerId === this.#limits.selfId || this.#isExpired(value)) await this.#inner.delete(key)
      else this.#count(key.toString(), 1)
    }
  }

  override async put(key: Key, value: Uint8Array): Promise<Key> {
    const text = key.toString()
    if (text.startsWith(PROVIDERS)) return await this.#inTurn(text, () => this.#putProvider(key, text, value))
    if (text.startsWith(VALUES))
      throw new MusterError('refused', 'kad-dht keeps no values here: records have a protocol of their own')
    if (text.startsWith('/peers/')) {
      const last = this.#lastPeerRow.get(text)
      if (last !== undefined && equalBytes(last, value)) return key
      this.#lastPeerRow.delete(text)
      this.#lastPeerRow.set(text, value)
      if (this.#lastPeerRow.size > MAX_REMEMBERED_ROWS) {
        this.#lastPeerRow.delete(this.#lastPeerRow.keys().next().value as string)
      }
    }
    this.writes++
    return await this.#inner.put(key, value)
  }

  override async get(key: Key): Promise<Uint8Array> {
    return await this.#inner.get(key) // awaited: MemoryDatastore throws synchronously (T29)
  }

  override async has(key: Key): Promise<boolean> {
    return await this.#inner.has(key)
  }

  override async delete(key: Key): Promise<void> {
    const text = key.toString()
    this.#lastPeerRow.delete(text)
    await this.#inTurn(text, () => this.#delete(key, text))
  }

  async #delete(key: Key, text: string): Promise<void> {
    if (text.startsWith(PROVIDERS) && (await this.#inner.has(key))) this.#count(text, -1)
    await this.#inner.delete(key)
  }

  override async *query(query: Query): AsyncGenerator<Pair> {
    const prefix = query.prefix ?? ''
    const isLookup = prefix.startsWith(PROVIDERS) && prefix.length > PROVIDERS.length
    if (!isLookup) {
      yield* this.#inner.query(query)
      return
    }
    const live: Pair[] = []
    for await (const pair of this.#inner.query(query)) if (!this.#isExpired(pair.value)) live.push(pair)
    yield* sample(live, MAX_PROVIDERS_PER_ANSWER, this.#limits.random)
  }

  override async *queryKeys(query: KeyQuery): AsyncGenerator<Key> {
    yield* this.#inner.queryKeys(query)
  }

  /** One change of a row at a time: two that arrive together would both find it new, and be counted twice. */
  async #inTurn<T>(row: string, change: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(row) ?? Promise.resolve()).then(change, change)
    this.#turns.set(row, turn)
    try {
      return await turn
    } finally {
      if (this.#turns.get(row) === turn) this.#turns.delete(row)
    }
  }

  async #putProvider(key: Key, text: string, value: Uint8Array): Promise<Key> {
    if (!(await this.#inner.has(key))) {
      const { topic, peerId } = providerRow(text)
      if (peerId !== this.#limits.selfId) {
        if ((this.#perKey.get(topic) ?? 0) >= MAX_PROVIDERS_PER_KEY) throw full('provider records under one key')
        if ((this.#perPeer.get(peerId) ?? 0) >= MAX_KEYS_PER_PROVIDER) throw full('keys of one provider')
        if (this.#providers >= MAX_PROVIDER_RECORDS) throw full('provider records')
      }
      this.#count(text, 1)
    }
    this.writes++
    return await this.#inner.put(key, value)
  }

  #isExpired(value: Uint8Array): boolean {
    return this.#limits.now() - decodeVarint(value) > this.#limits.validityMs
  }

  #count(text: string, by: 1 | -1): void {
    const { topic, peerId } = providerRow(text)
    this.#providers += by
    for (const [counts, name] of [
      [this.#perKey, topic],
      [this.#perPeer, peerId]
    ] as const) {
      const next = (counts.get(name) ?? 0) + by
      if (next <= 0) counts.delete(name)
      else counts.set(name, next)
    }
  }
}

function providerRow(text: string): { topic: string; peerId: string } {
  const [, , , topic = '', peerId = ''] = text.split('/')
  return { topic, peerId }
}

function full(what: string): MusterError {
  return new MusterError('limit-reached', `this node holds no more ${what}`)
}
