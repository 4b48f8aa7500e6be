import type { PeerId } from '../core/address.ts'
import { hexOf } from '../core/bytes.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { asMusterError, isMusterError, MusterError } from '../core/errors.ts'
import { build, type Closable, type Scope } from '../core/lifecycle.ts'
import { type Log, silentLog } from '../core/log.ts'
import { type Random, systemRandom } from '../core/random.ts'
import { anySignal, deadlineBy, raceSignal } from '../core/signals.ts'
import type { Node, Unseal, WaitOptions } from '../node/port.ts'
import type { Table } from '../store/port.ts'
import type { BookLimits } from './book.ts'
import { placeOf, type RecordKey } from './key.ts'
import * as limits from './limits.ts'
import { Lines } from './lines.ts'
import { type OwnRecord, OwnRecords } from './own.ts'
import { type Found, Reader } from './read.ts'
import { compareRecords, type RecordValue, type SignedRecord } from './record.ts'
import { Replicator } from './replicate.ts'
import { restore } from './restore.ts'
import { salvage } from './salvage.ts'
import { Seen } from './seen.ts'
import { type ServeNeeds, Serving } from './serve.ts'
import { Shelf, type Taken } from './shelf.ts'
import { Watching } from './watch.ts'
import { type Put, type Write, Writer } from './write.ts'

export interface RecordsNeeds {
  readonly node: Pick<Node, 'peerId' | 'dht' | 'seal' | 'open' | 'connect' | 'isConnected' | 'handle' | 'on'>
  /** Where they are kept. */
  readonly table: Table
  readonly unseal: Unseal
  readonly clock?: Clock
  readonly random?: Random
  readonly log?: Log
  /** Ends the opening, which takes a while where much is on disk. */
  readonly signal?: AbortSignal
  readonly onRequest?: ServeNeeds['onRequest']
  /** A read or write of ours ended. */
  onOperation?(kind: 'get' | 'put', outcome: 'ok' | 'none' | 'failed'): void
}

export interface PutOptions extends WaitOptions {
  /** How long the record counts, in milliseconds; 48 h by default, 5 min to 30 days. */
  readonly validityMs?: number
  /** Sign it anew before it expires, as long as this node runs. */
  readonly renew?: boolean
  /** Milliseconds to wait, 10,000 by default. */
  readonly timeoutMs?: number
}

export interface GetOptions extends WaitOptions {
  /** Holders that must agree for an early end; 3 by default. */
  readonly quorum?: number
  /** Milliseconds to wait, 10,000 by default. */
  readonly timeoutMs?: number
}

/** Signed key–value records in the DHT. See docs/protocols/records.md. */
export interface Records extends Closable {
  /** What is held for the network, and what is this node's own. */
  readonly counts: { readonly records: number; readonly bytes: number; readonly own: number }
  /**
   * Stores a value, or a tombstone, under a key that this node may write. Resolves once others have it on disk.
   * @throws MusterError `unreachable` when nobody stored it; `timed-out` | `aborted` | `closed` | `limit-reached`.
   */
  put(key: RecordKey, value: RecordValue | undefined, options?: PutOptions): Promise<Put>
  /**
   * The newest record under a key, deleted and expired ones left out; undefined when there is none.
   * @throws MusterError `unreachable` when nobody can be asked; `timed-out`; `record-invalid` when all that was found is
   *   none; `aborted` | `closed`.
   */
  get(key: RecordKey, options?: GetOptions): Promise<Found | undefined>
  /** Each newer version of what is under a key, tombstones too, from now on until the signal aborts. The newest replaces those not yet taken. */
  watch(key: RecordKey, signal: AbortSignal): AsyncIterable<SignedRecord>
  /** Records this node wrote that still count. */
  own(): Promise<readonly OwnRecord[]>
  /** All envelopes that this node holds, its own included, each once. */
  dump(): AsyncIterable<{ readonly envelope: Uint8Array; readonly own: boolean }>
  /** Takes an envelope from a dump: verified as if somebody had brought it. */
  restore(envelope: Uint8Array): Promise<Taken>
  /** Says what is due to be said again at once; for tests and after a restore. */
  republish(): Promise<void>
}

export async function openRecords(needs: RecordsNeeds, given?: Partial<BookLimits>): Promise<Records> {
  return await build(async scope => {
    const records = new LiveRecords(needs, scope, given)
    await records.begin()
    return records
  })
}

class LiveRecords implements Records {
  readonly signal: AbortSignal
  readonly #needs: RecordsNeeds
  readonly #clock: Clock
  readonly #scope: Scope
  readonly #shelf: Shelf
  readonly #own: OwnRecords
  readonly #seen = new Seen()
  readonly #reader: Reader
  readonly #writer: Writer
  readonly #watching: Watching
  readonly #serving: Serving
  readonly #replicator: Replicator
  /** Writes of one key go one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>()

  constructor(needs: RecordsNeeds, scope: Scope, given: Partial<BookLimits> | undefined) {
    const { node, table, unseal, clock = systemClock, random = systemRandom, log = silentLog, onRequest } = needs
    const { datastore } = table
    this.#needs = needs
    this.#clock = clock
    this.#scope = scope
    this.signal = scope.signal
    this.#watching = new Watching({ clock, unseal })
    const onChanged = (record: SignedRecord): void => {
      this.#serving.changed(record)
      this.#watching.tell(record)
    }
    const shelf = new Shelf({ datastore, unseal, clock, log, onChanged }, given)
    this.#shelf = shelf
    this.#own = new OwnRecords(datastore, log)
    const lines = scope.own(new Lines({ node, clock, onChanged: (from, envelope) => void this.#hear(from, envelope) }))
    const parts = { node, lines, shelf, own: this.#own, seen: this.#seen, unseal, clock }
    this.#reader = new Reader(parts, scope.signal)
    this.#writer = new Writer(parts)
    this.#serving = new Serving({ node, shelf, clock, log, ...(onRequest === undefined ? {} : { onRequest }) })
    this.#replicator = new Replicator(
      {
        ...parts,
        random,
        log,
        publish: (record, signal) => this.#writer.publish(record, signal),
        renew: own => this.#renew(own)
      },
      scope.signal
    )
  }

  get counts(): Records['counts'] {
    return { ...this.#shelf.counts, own: this.#own.all().length }
  }

  /**
   * Finds what an earlier run left; of a damaged table, what is readable and whose signature holds. Only then others are
   * answered: they would hear that there is nothing, and bring what is older than what is on disk.
   */
  async begin(): Promise<void> {
    const { table, log = silentLog, signal } = this.#needs
    await salvage(table, this.#needs.unseal, this.#clock.now(), log, signal)
    await this.#own.recall(signal)
    await this.#shelf.recall(signal)
    const sweep = (): void => void this.#shelf.sweep().catch(err => log.error({ err }, 'no sweep'))
    this.#scope.defer(() => this.#shelf.written())
    this.#scope.defer(this.#clock.every(limits.RECORD_SWEEP_MS, sweep))
    this.#scope.defer(this.#serving.start())
    this.#scope.defer(this.#replicator.start())
  }

  async put(key: RecordKey, value: RecordValue | undefined, options: PutOptions = {}): Promise<Put> {
    const {
      validityMs = value === undefined ? limits.MAX_RECORD_VALIDITY_MS : limits.RECORD_VALIDITY_MS,
      renew = false
    } = options
    using limit = deadlineBy(
      this.#clock,
      options.timeoutMs ?? limits.RECORD_DEADLINE_MS,
      'storing a record',
      this.signal,
      options.signal
    )
    const { signal } = limit
    const write = { key, value, validityMs, renew }
    return await this.#told(
      raceSignal(
        this.#inTurn(hexOf(placeOf(key)), () => this.#write(write, signal)),
        signal
      )
    )
  }

  async get(key: RecordKey, options: GetOptions = {}): Promise<Found | undefined> {
    try {
      const found = await this.#read(key, options)
      const isThere =
        found !== undefined && found.record.value !== undefined && found.record.expiresMs > this.#clock.now()
      this.#needs.onOperation?.('get', isThere ? 'ok' : 'none')
      return isThere ? found : undefined
    } catch (thrown) {
      this.#needs.onOperation?.('get', 'failed')
      throw thrown
    }
  }

  async *watch(key: RecordKey, signal: AbortSignal): AsyncGenerator<SignedRecord> {
    using both = anySignal(signal, this.signal)
    const look = async (): Promise<SignedRecord | undefined> =>
      (await this.#read(key, { signal: both.signal }, true))?.record
    for await (const record of this.#watching.watch(placeOf(key), look, both.signal)) {
      if (record.expiresMs > this.#clock.now()) yield record
    }
  }

  async own(): Promise<readonly OwnRecord[]> {
    const now = this.#clock.now()
    return this.#own.all().filter(({ record }) => record.value !== undefined && record.expiresMs > now)
  }

  async *dump(): AsyncGenerator<{ readonly envelope: Uint8Array; readonly own: boolean }> {
    const rows = new Set<string>()
    for (const { record } of this.#own.all()) {
      rows.add(hexOf(record.place))
      yield { envelope: record.envelope, own: true }
    }
    for (const [row, { place }] of [...this.#shelf.rows()]) {
      if (rows.has(row)) continue
      const envelope = await this.#shelf.get(place)
      if (envelope !== undefined) yield { envelope, own: false }
    }
  }

  async restore(envelope: Uint8Array): Promise<Taken> {
    return await restore(envelope, { shelf: this.#shelf, own: this.#own, self: this.#needs.node.peerId })
  }

  async republish(): Promise<void> {
    await this.#replicator.tick(true)
  }

  close(): Promise<void> {
    return this.#scope.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #read(key: RecordKey, options: GetOptions, watch = false): Promise<Found | undefined> {
    const { quorum = limits.QUORUM, timeoutMs = limits.RECORD_DEADLINE_MS } = options
    using limit = deadlineBy(this.#clock, timeoutMs, 'reading a record', this.signal, options.signal)
    const isKnownHere = this.#own.get(placeOf(key)) ?? (await this.#shelf.get(placeOf(key)))
    if (isKnownHere === undefined) await this.#someone(limit.signal)
    return await this.#reader.read(key, { quorum, watch }, limit.signal)
  }

  /** Resolves once there is somebody to ask: a node that has just started knows nobody for a moment. */
  async #someone(signal: AbortSignal): Promise<void> {
    try {
      await this.#needs.node.dht.ready({ signal })
    } catch (thrown) {
      if (isMusterError(thrown, 'timed-out'))
        throw new MusterError('unreachable', 'no other node is known', { cause: thrown })
      throw thrown
    }
  }

  /** To be called in the key's turn. */
  async #write(write: Write, signal: AbortSignal): Promise<Put> {
    signal.throwIfAborted()
    await this.#someone(signal)
    return await this.#writer.write(write, signal)
  }

  /** Tells what became of a write to those who watch the key, and those who count. */
  async #told(writing: Promise<Put>): Promise<Put> {
    try {
      const put = await writing
      this.#watching.tell(put.record)
      this.#needs.onOperation?.('put', 'ok')
      return put
    } catch (thrown) {
      this.#needs.onOperation?.('put', 'failed')
      throw asMusterError(thrown, 'unreachable')
    }
  }

  /** Signs a record of ours anew, unless its key was written since, by somebody else or, while that is looked up, by us. */
  async #renew({ record, renewMs }: OwnRecord): Promise<void> {
    const { key, place, value, author, issuedMs, expiresMs } = record
    const found = await this.#read(key, {})
    const isTheirs = found !== undefined && found.record.author !== author && compareRecords(found.record, record) > 0
    using limit = deadlineBy(this.#clock, limits.RECORD_DEADLINE_MS, 'renewing a record', this.signal)
    await this.#inTurn(hexOf(place), async () => {
      if (this.#own.get(place)?.record !== record) return
      if (isTheirs) return await this.#own.delete(place)
      const write = { key, value, validityMs: renewMs ?? expiresMs - issuedMs, renew: true }
      await this.#told(this.#write(write, limit.signal))
    })
  }

  async #hear(from: PeerId, envelope: Uint8Array): Promise<void> {
    const record = await this.#watching.hear(from, envelope)
    if (record === undefined) return
    this.#seen.add(record)
    this.#watching.tell(record)
  }

  async #inTurn<T>(row: string, run: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(row) ?? Promise.resolve()).then(run, run)
    this.#turns.set(row, turn)
    try {
      return await turn
    } finally {
      if (this.#turns.get(row) === turn) this.#turns.delete(row)
    }
  }
}
