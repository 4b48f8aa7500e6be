import type { Pair } from 'interface-datastore'
import type { PeerAddress, PeerId } from '../core/address.ts'
import { hexOf } from '../core/bytes.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { asMusterError, isMusterError, MusterError } from '../core/errors.ts'
import { build, type Closable, type Scope } from '../core/lifecycle.ts'
import { type Log, silentLog } from '../core/log.ts'
import { type Random, systemRandom } from '../core/random.ts'
import { deadlineBy } from '../core/signals.ts'
import { Slots } from '../core/slots.ts'
import type { Node, Unseal, WaitOptions } from '../node/port.ts'
import { compareDistance, positionOf } from '../node/position.ts'
import type { Table } from '../store/port.ts'
import type { BookLimits } from './book.ts'
import { Frontier } from './frontier.ts'
import { placeOf, type RecordKey } from './key.ts'
import * as limits from './limits.ts'
import { Lines } from './lines.ts'
import { type OwnRecord, OwnRecords } from './own.ts'
import { compareRecords, openRecord, type RecordValue, type SignedRecord, signRecord } from './record.ts'
import { Replicator } from './replicate.ts'
import { type ServeNeeds, Serving } from './serve.ts'
import { envelopeOf, Shelf, type Taken } from './shelf.ts'
import { Tally } from './tally.ts'
import { walk } from './walk.ts'

export interface RecordsNeeds {
  readonly node: Pick<
    Node,
    'peerId' | 'dht' | 'seal' | 'open' | 'connect' | 'isConnected' | 'connections' | 'handle' | 'on'
  >
  /** Where they are kept. */
  readonly table: Table
  readonly unseal: Unseal
  readonly clock?: Clock
  readonly random?: Random
  readonly log?: Log
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

export interface Put {
  readonly record: SignedRecord
  /** Other nodes that have it on disk. */
  readonly stored: number
  /** True when these are at least three. */
  readonly isQuorum: boolean
}

export interface GetOptions extends WaitOptions {
  /** Holders that must agree for an early end; 3 by default. */
  readonly quorum?: number
  /** Milliseconds to wait, 10,000 by default. */
  readonly timeoutMs?: number
}

export interface Found {
  readonly record: SignedRecord
  /** Nodes that gave exactly this record, and nodes that answered at all, this one included when it holds records there. */
  readonly holders: number
  readonly answers: number
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

/** Tries of a write that finds a newer record. */
const MAX_TRIES = 3
/** Stores of a repair that run at once, over all reads. */
const PARALLEL_REPAIRS = 10
/** Milliseconds between two reads of a watch; pushes come at once. */
const WATCH_POLL_MS = limits.WATCH_MS / 2

class LiveRecords implements Records {
  readonly signal: AbortSignal
  readonly #needs: RecordsNeeds
  readonly #clock: Clock
  readonly #scope: Scope
  readonly #shelf: Shelf
  readonly #own: OwnRecords
  readonly #lines: Lines
  readonly #serving: Serving
  readonly #replicator: Replicator
  readonly #repairs = new Slots(PARALLEL_REPAIRS)
  /** The newest read so far, by row: what this reader has seen it never unsees. */
  readonly #seen = new Map<string, SignedRecord>()
  readonly #watchers = new Map<string, Set<(record: SignedRecord) => void>>()
  /** Writes of one key go one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>()

  constructor(needs: RecordsNeeds, scope: Scope, given: Partial<BookLimits> | undefined) {
    const { node, table, unseal, clock = systemClock, random = systemRandom, log = silentLog, onRequest } = needs
    this.#needs = needs
    this.#clock = clock
    this.#scope = scope
    this.signal = scope.signal
    this.#shelf = new Shelf(
      {
        datastore: table.datastore,
        unseal,
        clock,
        log,
        onChanged: record => {
          serving.changed(record)
          this.#tell(record)
        }
      },
      given
    )
    const serving = new Serving({
      node,
      shelf: this.#shelf,
      clock,
      log,
      ...(onRequest === undefined ? {} : { onRequest })
    })
    this.#own = new OwnRecords(table.datastore, log)
    this.#lines = scope.own(new Lines({ node, clock, onChanged: (_from, envelope) => void this.#hear(envelope) }))
    this.#replicator = new Replicator(
      {
        node,
        shelf: this.#shelf,
        own: this.#own,
        lines: this.#lines,
        clock,
        random,
        log,
        publish: (record, signal) => this.#publish(record, signal),
        renew: async own => {
          await this.put(own.record.key, own.record.value, { validityMs: own.renewMs as number, renew: true })
        }
      },
      scope.signal
    )
    this.#serving = serving
  }

  get counts(): Records['counts'] {
    return { ...this.#shelf.counts, own: this.#own.all().length }
  }

  /**
   * Finds what an earlier run left; of a damaged table, what is readable and whose signature holds. Only then others are
   * answered: they would hear that there is nothing, and bring what is older than what is on disk.
   */
  async begin(): Promise<void> {
    const { table, log = silentLog } = this.#needs
    const { damage } = table
    if (damage !== undefined) {
      const saved = await this.#salvage(damage.rows())
      log.error(
        { ...saved, what: damage.what, movedTo: damage.movedTo },
        'records: damaged rows were left out; others bring back what they hold'
      )
    }
    await this.#own.recall()
    await this.#shelf.recall()
    const sweep = (): void => void this.#shelf.sweep().catch(err => log.error({ err }, 'no sweep'))
    this.#scope.defer(() => this.#shelf.written())
    this.#scope.defer(this.#clock.every(limits.RECORD_SWEEP_MS, sweep))
    this.#scope.defer(this.#serving.start())
    this.#scope.defer(this.#replicator.start())
  }

  async put(key: RecordKey, value: RecordValue | undefined, options: PutOptions = {}): Promise<Put> {
    const place = placeOf(key)
    return await this.#inTurn(hexOf(place), async () => {
      using limit = deadlineBy(
        this.#clock,
        options.timeoutMs ?? limits.RECORD_DEADLINE_MS,
        'storing a record',
        this.signal,
        options.signal
      )
      try {
        const put = await this.#put(key, place, value, options, limit.signal)
        this.#needs.onOperation?.('put', 'ok')
        return put
      } catch (thrown) {
        this.#needs.onOperation?.('put', 'failed')
        throw asMusterError(limit.signal.aborted ? limit.signal.reason : thrown, 'unreachable')
      }
    })
  }

  async get(key: RecordKey, options: GetOptions = {}): Promise<Found | undefined> {
    try {
      const found = await this.#read(key, options, false)
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
    const row = hexOf(placeOf(key))
    let latest: SignedRecord | undefined
    let told: SignedRecord | undefined
    let wake = Promise.withResolvers<void>()
    const hear = (record: SignedRecord): void => {
      if (latest !== undefined && compareRecords(record, latest) <= 0) return
      latest = record
      wake.resolve()
    }
    const listeners = this.#watchers.get(row) ?? new Set()
    this.#watchers.set(row, listeners)
    listeners.add(hear)
    const look = (): void => {
      this.#read(key, { signal }, true).then(
        found => found !== undefined && hear(found.record),
        () => undefined // nobody there, or not yet: the next look may find it
      )
    }
    const stopLooking = this.#clock.every(WATCH_POLL_MS, look)
    const onAbort = (): void => wake.resolve()
    for (const each of [signal, this.signal]) each.addEventListener('abort', onAbort)
    try {
      look()
      while (!signal.aborted && !this.signal.aborted) {
        if (latest !== told && latest !== undefined) {
          told = latest
          yield latest
        } else {
          await wake.promise
          wake = Promise.withResolvers<void>()
        }
      }
    } finally {
      stopLooking()
      for (const each of [signal, this.signal]) each.removeEventListener('abort', onAbort)
      listeners.delete(hear)
      if (listeners.size === 0) this.#watchers.delete(row)
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
    const taken = await this.#shelf.take(envelope)
    if (taken.outcome !== 'stored') return taken
    const record = await openRecord(envelope, this.#needs.unseal, this.#clock.now())
    const own = this.#own.get(record.place)
    if (record.author === this.#needs.node.peerId && (own === undefined || compareRecords(record, own.record) > 0)) {
      await this.#own.set({ record, renewMs: undefined, saidMs: 0, stored: 0 })
    }
    return taken
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

  async #salvage(rows: AsyncIterable<Pair>): Promise<{ saved: number; lost: number }> {
    const { table, unseal } = this.#needs
    let [saved, lost] = [0, 0]
    for await (const { key, value } of rows) {
      try {
        await openRecord(envelopeOf(value), unseal, this.#clock.now())
        await table.datastore.put(key, value)
        saved++
      } catch {
        lost++ // it is counted, and said
      }
    }
    return { saved, lost }
  }

  async #put(
    key: RecordKey,
    place: Uint8Array,
    value: RecordValue | undefined,
    { validityMs = value === undefined ? limits.MAX_RECORD_VALIDITY_MS : limits.RECORD_VALIDITY_MS, renew }: PutOptions,
    signal: AbortSignal
  ): Promise<Put> {
    const { node } = this.#needs
    const before = this.#own.get(place)
    let newest: SignedRecord | undefined = before?.record
    const heldHere = await this.#held(place)
    for (const known of [heldHere, this.#seen.get(hexOf(place))]) {
      if (known !== undefined && (newest === undefined || compareRecords(known, newest) > 0)) newest = known
    }
    for (let tries = 1; ; tries++) {
      const now = this.#clock.now()
      // a clock that never stands still and never goes back, whoever wrote before
      const sequence = Math.max(now, key.kind === 'content' ? 0 : (newest?.sequence ?? 0) + 1)
      const issuedMs = Math.max(now, sequence)
      const record = await signRecord(node, { key, sequence, issuedMs, expiresMs: issuedMs + validityMs, value })
      const renewMs = renew === true ? validityMs : undefined
      await this.#own.set({ record, renewMs, saidMs: 0, stored: 0 }) // killed from here on, it is said after the next start
      let published: Published
      try {
        published = await this.#publish(record, signal)
      } catch (thrown) {
        if (isMusterError(thrown, 'unreachable')) await this.#takeBack(record, before)
        throw thrown
      }
      const { stored, newer } = published
      if (newer !== undefined && key.kind !== 'content' && tries < MAX_TRIES) {
        newest = newer
        continue
      }
      if (stored.length === 0) {
        await this.#takeBack(record, before)
        throw new MusterError('unreachable', 'no node stored the record')
      }
      await this.#own.set({ record, renewMs, saidMs: now, stored: stored.length })
      this.#see(record)
      this.#tell(record)
      return { record, stored: stored.length, isQuorum: stored.length >= limits.QUORUM }
    }
  }

  /** Nobody has it, so nobody shall hear of it later; the sequence number is not used again, as time goes on. */
  async #takeBack(record: SignedRecord, before: OwnRecord | undefined): Promise<void> {
    if (before === undefined) await this.#own.delete(record.place)
    else await this.#own.set(before)
  }

  /** Brings a record to the nodes closest to it, and to this one if it is one of them. */
  async #publish(record: SignedRecord, signal: AbortSignal): Promise<Published> {
    const { node } = this.#needs
    const { place, envelope } = record
    const frontier = new Frontier(place, node.peerId)
    frontier.add(node.dht.closest(place, limits.REPLICAS))
    const stored = new Set<PeerId>()
    const onlyFound: PeerAddress[] = []
    let newer: SignedRecord | undefined
    const store = async (target: PeerAddress, wantsCloser: boolean) => {
      const answer = await this.#lines.ask(target, 'store', { envelope, wantsCloser }, signal)
      if (answer.refusal === undefined) stored.add(target.peerId)
      if (answer.newer !== undefined) {
        const other = await this.#opened(answer.newer, place)
        if (other !== undefined && compareRecords(other, newer ?? record) > 0) newer = other
      }
      return answer.closer
    }
    const isClose = closeness(node)
    await walk({
      clock: this.#clock,
      frontier,
      signal,
      ask: async target => {
        // stored while walking (Optimistic Provide): most nodes that are asked for closer ones are holders themselves
        if (isClose(place, target.peerId)) return await store(target, true)
        const { closer } = await this.#lines.ask(target, 'find', { place }, signal)
        onlyFound.push(target)
        return closer
      },
      isEnough: () => false,
      canLeaveSlow: () => stored.size >= limits.QUORUM
    })
    const closest = frontier.closest()
    const missing = closest.filter(({ peerId }) => onlyFound.some(found => found.peerId === peerId))
    await Promise.allSettled(missing.map(target => store(target, false)))
    signal.throwIfAborted()
    const last = closest[limits.REPLICAS - 1]
    if (last === undefined || compareDistance(place, positionOf(node.peerId), positionOf(last.peerId)) < 0) {
      await this.#shelf.take(envelope)
    }
    return { stored: [...stored], newer }
  }

  async #read(key: RecordKey, options: GetOptions, watch: boolean): Promise<Found | undefined> {
    const { node, unseal } = this.#needs
    const { quorum = limits.QUORUM, timeoutMs = limits.RECORD_DEADLINE_MS } = options
    const place = placeOf(key)
    const row = hexOf(place)
    const tally = new Tally(place, unseal, () => this.#clock.now())
    const [seen, own] = [this.#seen.get(row), this.#own.get(place)?.record]
    for (const known of [seen, own]) if (known !== undefined) tally.know(known)
    const held = await this.#shelf.get(place)
    if (held !== undefined) await tally.take(node.peerId, held)
    const frontier = new Frontier(place, node.peerId)
    frontier.add(node.dht.closest(place, limits.REPLICAS))
    using limit = deadlineBy(this.#clock, timeoutMs, 'reading a record', this.signal, options.signal)
    let asked = 0
    try {
      await walk({
        clock: this.#clock,
        frontier,
        signal: limit.signal,
        ask: async target => {
          const { envelope, closer } = await this.#lines.ask(
            target,
            'find',
            { place, ...(watch ? { watch } : {}) },
            limit.signal
          )
          asked++
          await tally.take(target.peerId, envelope)
          return closer
        },
        isEnough: () => tally.hasQuorum(quorum),
        canLeaveSlow: () => tally.answers >= limits.MIN_ANSWERS
      })
    } catch (thrown) {
      // what is valid and was found in time is an answer, with few holders
      if (!isMusterError(thrown, 'timed-out') || tally.answers === 0) throw asMusterError(thrown, 'aborted')
    }
    const { best, holders, answers, invalid } = tally
    if (answers === 0 && own === undefined) throw new MusterError('unreachable', 'no node could be asked')
    if (best === undefined) {
      if (invalid > 0 && invalid >= Math.min(quorum, asked)) {
        throw new MusterError('record-invalid', `${invalid} of ${asked} nodes gave something that is no record`)
      }
      return undefined
    }
    this.#see(best)
    this.#repair(best, frontier, tally.stale())
    return { record: best, holders, answers }
  }

  /** Nodes that should hold a record and gave an older one, or none, get it; nobody waits for that. */
  #repair(record: SignedRecord, frontier: Frontier, stale: readonly PeerId[]): void {
    if (record.expiresMs <= this.#clock.now()) return
    const { envelope } = record
    for (const target of frontier.closest().filter(({ peerId }) => stale.includes(peerId))) {
      this.#repairs
        .run(() => this.#lines.ask(target, 'store', { envelope }, this.signal), this.signal)
        .catch(() => undefined) // the next read, or the next republishing, tries again
    }
  }

  async #hear(envelope: Uint8Array): Promise<void> {
    try {
      const record = await openRecord(envelope, this.#needs.unseal, this.#clock.now())
      if (!this.#watchers.has(hexOf(record.place))) return
      this.#see(record)
      this.#tell(record)
    } catch {
      // rubbish from one holder: the others tell, too
    }
  }

  #tell(record: SignedRecord): void {
    for (const hear of this.#watchers.get(hexOf(record.place)) ?? []) hear(record)
  }

  #see(record: SignedRecord): void {
    const row = hexOf(record.place)
    const seen = this.#seen.get(row)
    if (seen !== undefined && compareRecords(record, seen) < 0) return
    this.#seen.delete(row)
    this.#seen.set(row, record)
    if (this.#seen.size > limits.MAX_REMEMBERED_READS) this.#seen.delete(this.#seen.keys().next().value as string)
  }

  async #held(place: Uint8Array): Promise<SignedRecord | undefined> {
    const envelope = await this.#shelf.get(place)
    return envelope === undefined ? undefined : await this.#opened(envelope, place)
  }

  async #opened(envelope: Uint8Array, place: Uint8Array): Promise<SignedRecord | undefined> {
    const record = await openRecord(envelope, this.#needs.unseal, this.#clock.now()).catch(() => undefined) // not worth more than nothing
    return record !== undefined && hexOf(record.place) === hexOf(place) ? record : undefined
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

interface Published {
  readonly stored: readonly PeerId[]
  /** A record of the same key that some node holds instead. */
  readonly newer: SignedRecord | undefined
}

/**
 * Whether a node is probably one of the k closest to a place: as close as this node's own k-th neighbour is to this node,
 * since ids are spread evenly.
 */
function closeness(node: Pick<Node, 'dht' | 'peerId'>): (place: Uint8Array, peerId: PeerId) => boolean {
  const self = positionOf(node.peerId)
  const neighbours = node.dht.closest(self, limits.REPLICAS)
  const last = neighbours[limits.REPLICAS - 1]
  if (last === undefined) return () => true // the whole network is no larger
  const shared = commonBits(self, positionOf(last.peerId))
  return (place, peerId) => commonBits(place, positionOf(peerId)) >= shared
}

function commonBits(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < a.length; at++) {
    const difference = (a[at] as number) ^ (b[at] as number)
    if (difference !== 0) return at * 8 + Math.clz32(difference) - 24
  }
  return a.length * 8
}
