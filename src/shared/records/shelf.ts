import { type Datastore, Key } from 'interface-datastore'
import { hexOf } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { asError, MusterError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Unseal } from '../node/port.ts'
import { codec } from '../wire/codec.ts'
import { Batches } from './batches.ts'
import { Book, type BookLimits, type Held } from './book.ts'
import {
  compareVersions,
  InvalidRecord,
  peekRecord,
  proveRecord,
  type RecordFault,
  type SignedRecord,
  type Version,
  versionOf
} from './record.ts'

const PREFIX = '/muster/record/held'

/** What became of a record that somebody brought. */
export type Taken =
  | { readonly outcome: 'stored' }
  /** Another one is newer, and on disk. */
  | { readonly outcome: 'older'; readonly newer: Uint8Array | undefined }
  | { readonly outcome: 'refused'; readonly code: RecordFault | 'full' | 'rate' | 'failed' }

export interface ShelfNeeds {
  readonly datastore: Datastore
  readonly unseal: Unseal
  readonly clock: Clock
  readonly log: Log
  /** A record was replaced by a newer one, or is new here; it is on disk. */
  onChanged?(record: SignedRecord): void
}

const rowCodec = codec({
  envelope: { id: 1, type: 'bytes', required: true },
  receivedMs: { id: 2, type: 'uint64', required: true },
  heardMs: { id: 3, type: 'uint64', required: true },
  heldUntilMs: { id: 4, type: 'uint64', required: true }
})

/**
 * The records a node holds, in memory by place and on disk as `/muster/record/held/<place in hex>`. Of one place there
 * is one record at a time, and it never becomes an older one: versions are compared and put down in one step, and what is
 * not on disk yet is shown to nobody.
 */
export class Shelf {
  readonly #needs: ShelfNeeds
  readonly #book: Book
  /** The last write of a row that is under way. */
  readonly #writing = new Map<string, Promise<void>>()

  constructor(needs: ShelfNeeds, given?: Partial<BookLimits>) {
    this.#needs = needs
    this.#book = new Book(given)
  }

  get counts(): { readonly records: number; readonly bytes: number } {
    return { records: this.#book.size, bytes: this.#book.bytes }
  }

  /** Finds what an earlier run held. Rows that are not readable, or past their time, are deleted; resolves with how many were not readable. */
  async recall(signal?: AbortSignal): Promise<number> {
    const { datastore, clock, log } = this.#needs
    const batches = new Batches(datastore)
    let unreadable = 0
    for await (const { key, value } of datastore.query({ prefix: PREFIX })) {
      signal?.throwIfAborted()
      const row = key.toString().slice(PREFIX.length + 1)
      try {
        const { envelope, ...ages } = rowCodec.decode(value)
        const record = peekRecord(envelope)
        if (hexOf(record.place) !== row) throw new Error('a row at another place than its record')
        if (ages.heldUntilMs > clock.now()) this.#book.set(row, heldOf(record, ages))
        else await batches.delete(key)
      } catch (thrown) {
        unreadable++
        log.error({ err: asError(thrown), row }, 'a record on disk is not readable and was dropped')
        await batches.delete(key)
      }
    }
    await batches.commit()
    return unreadable
  }

  /** Judges a record and keeps it if it is the newest of its place; resolves once it is on disk. */
  async take(envelope: Uint8Array): Promise<Taken> {
    try {
      return await this.takePeeked(peekRecord(envelope))
    } catch {
      return { outcome: 'refused', code: 'malformed' }
    }
  }

  /** As {@link take}, for a record that was peeked at; a key that is not held is taken only if `mayBeNew` says so. */
  async takePeeked(claimed: SignedRecord, mayBeNew: () => boolean = () => true): Promise<Taken> {
    try {
      return await this.#take(claimed, mayBeNew)
    } catch (thrown) {
      if (thrown instanceof InvalidRecord) return { outcome: 'refused', code: thrown.fault }
      this.#needs.log.error({ err: asError(thrown) }, 'a record could not be kept')
      return { outcome: 'refused', code: 'failed' }
    }
  }

  /** The record at a place, once it is on disk; an expired one, too, as long as something older could come back. */
  async get(place: Uint8Array): Promise<Uint8Array | undefined> {
    const row = hexOf(place)
    const held = this.#book.get(row)
    if (held === undefined || held.heldUntilMs <= this.#needs.clock.now()) return undefined
    return await this.#read(row)
  }

  /** True when what is offered is newer than what is held here, or nothing is. */
  wants(place: Uint8Array, version: Omit<Version, 'kind'>): boolean {
    const row = hexOf(place)
    const held = this.#book.get(row)
    if (held === undefined) return true
    const order = compareVersions({ ...version, kind: held.kind }, held)
    if (order === 0) this.heard(row)
    return order > 0
  }

  /** All that is held, by row. */
  rows(): IterableIterator<[string, Held]> {
    return this.#book.rows()
  }

  /** Somebody else said it: nobody needs to say it again for a while. */
  heard(row: string): void {
    const held = this.#book.get(row)
    if (held !== undefined) this.#book.set(row, { ...held, heardMs: this.#needs.clock.now() })
  }

  /** This node says it now. */
  said(row: string): void {
    const now = this.#needs.clock.now()
    const held = this.#book.get(row)
    if (held !== undefined) this.#book.set(row, { ...held, heardMs: now, saidMs: now })
  }

  /** Drops what is past its time. */
  async sweep(): Promise<number> {
    const now = this.#needs.clock.now()
    const past = [...this.#book.rows()].filter(([, { heldUntilMs }]) => heldUntilMs <= now)
    if (past.length === 0) return 0
    const batch = this.#needs.datastore.batch()
    for (const [row] of past) {
      this.#book.delete(row)
      batch.delete(keyOf(row))
    }
    await batch.commit()
    return past.length
  }

  /** Resolves once nothing is being written. */
  async written(): Promise<void> {
    while (this.#writing.size > 0) await Promise.allSettled(this.#writing.values())
  }

  async #take(claimed: SignedRecord, mayBeNew: () => boolean): Promise<Taken> {
    const { clock, unseal } = this.#needs
    if (claimed.expiresMs <= clock.now()) throw new InvalidRecord('expired', 'an expired record')
    const row = hexOf(claimed.place)
    // before the signature, which costs ten times as much
    if (!this.#isNews(row, claimed)) return await this.#oldNews(row, claimed)
    if (this.#book.get(row) === undefined && !mayBeNew()) return { outcome: 'refused', code: 'rate' }
    const record = await proveRecord(claimed, unseal, clock.now())
    // another may have come meanwhile; from here to the book nothing is awaited
    return this.#isNews(row, record) ? await this.#put(row, record) : await this.#oldNews(row, record)
  }

  #isNews(row: string, record: SignedRecord): boolean {
    const held = this.#book.get(row)
    if (held === undefined || held.heldUntilMs <= this.#needs.clock.now()) return true
    return compareVersions(versionOf(record), held) > 0
  }

  /** What is said to a record that is not newer than what is held. */
  async #oldNews(row: string, record: SignedRecord): Promise<Taken> {
    const held = this.#book.get(row)
    if (held !== undefined && (held.kind === 'content' || compareVersions(versionOf(record), held) === 0)) {
      this.heard(row)
      await this.#writing.get(row)
      return { outcome: 'stored' }
    }
    return { outcome: 'older', newer: await this.#read(row) }
  }

  /** To be called in the same turn as the comparison: so rows of one place never go back. */
  async #put(row: string, record: SignedRecord): Promise<Taken> {
    const { clock, datastore, onChanged } = this.#needs
    const now = clock.now()
    const old = this.#book.get(row)
    const ages = {
      receivedMs: now,
      heardMs: now,
      heldUntilMs: Math.max(record.expiresMs, old === undefined ? 0 : old.heldUntilMs)
    }
    const held = heldOf(record, ages)
    if (!this.#book.hasRoomFor(row, held)) return { outcome: 'refused', code: 'full' }
    this.#book.set(row, held)
    const value = rowCodec.encode({ envelope: record.envelope, ...ages })
    const before = this.#writing.get(row)
    const write = (async () => {
      await before?.catch(() => undefined) // whoever waits for that one hears of it
      try {
        await datastore.put(keyOf(row), value)
      } catch (cause) {
        await this.#fallBack(row, held)
        throw new MusterError('data-not-writable', 'a record is not on disk', { cause })
      }
    })()
    this.#writing.set(row, write)
    try {
      await write
    } finally {
      if (this.#writing.get(row) === write) this.#writing.delete(row)
    }
    onChanged?.(record)
    return { outcome: 'stored' }
  }

  /** The disk did not take a record: what it has counts, unless a newer one is on its way. */
  async #fallBack(row: string, failed: Held): Promise<void> {
    let onDisk: Held | undefined
    try {
      const { envelope, ...ages } = rowCodec.decode(await this.#needs.datastore.get(keyOf(row)))
      onDisk = heldOf(peekRecord(envelope), ages)
    } catch {
      // it has none, or cannot be read either: nothing is held
    }
    const now = this.#book.get(row)
    if (now === undefined || compareVersions(now, failed) !== 0) return
    if (onDisk === undefined) this.#book.delete(row)
    else this.#book.set(row, onDisk)
  }

  /** What is on disk, once it is. */
  async #read(row: string): Promise<Uint8Array | undefined> {
    for (;;) {
      await this.#writing.get(row)?.catch(() => undefined) // whoever wrote hears of it
      const held = this.#book.get(row)
      if (held === undefined) return undefined
      try {
        return rowCodec.decode(await this.#needs.datastore.get(keyOf(row))).envelope
      } catch (thrown) {
        if (this.#book.get(row) !== held || this.#writing.has(row)) continue // replaced or swept meanwhile
        this.#needs.log.error({ err: asError(thrown), row }, 'a record on disk is not readable')
        this.#book.delete(row)
        return undefined
      }
    }
  }
}

/** The record in a row on disk, of ours or held: both have it in the same field. */
export function envelopeOf(row: Uint8Array): Uint8Array {
  return envelopeCodec.decode(row).envelope
}
const envelopeCodec = codec({ envelope: { id: 1, type: 'bytes', required: true } })

function heldOf(
  record: SignedRecord,
  ages: { readonly receivedMs: number; readonly heardMs: number; readonly heldUntilMs: number }
): Held {
  const { place, author, envelope } = record
  return { ...versionOf(record), place, author, bytes: envelope.length, saidMs: ages.receivedMs, ...ages }
}

function keyOf(row: string): Key {
  return new Key(`${PREFIX}/${row}`)
}
