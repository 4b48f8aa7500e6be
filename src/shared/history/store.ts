import { type Datastore, Key } from 'interface-datastore'
import { type Clock, systemClock } from '../core/clock.ts'
import { type Log, silentLog } from '../core/log.ts'
import type { TopicId } from '../core/topic.ts'
import type { SignedBroadcast } from '../gossip/broadcast.ts'
import { Book, type BookLimits, type Kept } from './book.ts'
import { KEPT_MS, MAX_UNWRITTEN_BYTES } from './limits.ts'

const PREFIX = '/muster/history'

/** Why a message is kept no longer, or was not kept at all: past its time, no room, or faster than the disk. */
export type DropReason = 'expired' | 'full' | 'busy'

export interface StoreNeeds {
  readonly datastore: Datastore
  readonly clock?: Clock
  readonly log?: Log
  onDropped?(reason: DropReason, count: number): void
}

/**
 * What a keeper keeps, on disk: `/muster/history/<topic key>/<author>/<sequence>.<sent>.<bytes>` → the proof. All that
 * decides what stays is in the key, so a start reads no messages.
 */
export class HistoryStore {
  readonly #datastore: Datastore
  readonly #clock: Clock
  readonly #log: Log
  readonly #onDropped: (reason: DropReason, count: number) => void
  readonly #book: Book
  /** Rows on their way to the disk; undefined: to be deleted. The last word on a row wins. */
  readonly #unwritten = new Map<string, Uint8Array | undefined>()
  #unwrittenBytes = 0
  #writing: Promise<void> | undefined

  constructor(
    { datastore, clock = systemClock, log = silentLog, onDropped }: StoreNeeds,
    limits?: Partial<BookLimits>
  ) {
    this.#datastore = datastore
    this.#clock = clock
    this.#log = log
    this.#onDropped = (reason, count) => onDropped?.(reason, count)
    this.#book = new Book(limits)
  }

  get messages(): number {
    return this.#book.messages
  }

  get bytes(): number {
    return this.#book.bytes
  }

  /** Finds what an earlier run kept. What is past its time, or not readable, is deleted. */
  async recall(): Promise<void> {
    for await (const key of this.#datastore.queryKeys({ prefix: PREFIX })) {
      const kept = keptOf(key.toString())
      if (kept === undefined || this.#book.has(kept)) this.#write(key.toString(), undefined)
      else this.#drop('full', this.#book.add(kept))
    }
    this.sweep()
    await this.written()
  }

  /**
   * Keeps a message whose signature was verified. It is on disk once {@link written} resolves. False when it is not kept:
   * it is there already, too old, of an author that has no room left, or comes faster than the disk takes it.
   */
  take({ topicId, author, sequence, sentMs, proof }: SignedBroadcast): boolean {
    const now = this.#clock.now()
    const kept: Kept = { topicId, author, sequence, sentMs: Math.min(sentMs, now), bytes: proof.length }
    if (kept.sentMs < now - KEPT_MS || this.#book.has(kept)) return false
    if (this.#unwrittenBytes + proof.length > MAX_UNWRITTEN_BYTES) {
      this.#onDropped('busy', 1)
      return false
    }
    const gone = this.#book.add(kept)
    const isKept = !gone.includes(kept)
    if (isKept) this.#write(keyOf(kept), proof.slice()) // not a view: it would keep the whole chunk alive
    this.#drop('full', gone)
    return isKept
  }

  /** The newest of a topic, oldest first. */
  newest(topicId: TopicId, limit: number): readonly Kept[] {
    this.sweep()
    return this.#book.newest(topicId, limit)
  }

  /** The proof of a kept message; undefined when it was dropped meanwhile. */
  async read(kept: Kept): Promise<Uint8Array | undefined> {
    if (!this.#book.has(kept)) return undefined
    const key = keyOf(kept)
    const waiting = this.#unwritten.get(key)
    if (waiting !== undefined) return waiting
    try {
      return await this.#datastore.get(new Key(key))
    } catch (thrown) {
      if (this.#book.has(kept)) this.#log.error({ err: thrown }, 'a kept message is not readable')
      return undefined
    }
  }

  /** Drops what is past its time. */
  sweep(): void {
    this.#drop('expired', this.#book.dropBefore(this.#clock.now() - KEPT_MS))
  }

  /** Resolves once everything taken so far is on disk, or could not be written. */
  async written(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing
  }

  #drop(reason: DropReason, gone: readonly Kept[]): void {
    if (gone.length === 0) return
    for (const kept of gone) this.#write(keyOf(kept), undefined)
    this.#onDropped(reason, gone.length)
  }

  #write(key: string, proof: Uint8Array | undefined): void {
    this.#unwrittenBytes += (proof?.length ?? 0) - (this.#unwritten.get(key)?.length ?? 0)
    this.#unwritten.set(key, proof)
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined
    })
  }

  /** What comes while a batch is being written goes together in the next. */
  async #writeAll(): Promise<void> {
    while (this.#unwritten.size > 0) {
      await Promise.resolve() // what comes in this turn goes along
      const rows = [...this.#unwritten]
      const batch = this.#datastore.batch()
      for (const [key, proof] of rows) {
        if (proof === undefined) batch.delete(new Key(key))
        else batch.put(new Key(key), proof)
      }
      try {
        await batch.commit()
      } catch (thrown) {
        this.#log.error({ err: thrown }, 'messages not kept')
      }
      for (const [key, proof] of rows) {
        if (this.#unwritten.get(key) !== proof) continue
        this.#unwritten.delete(key)
        this.#unwrittenBytes -= proof?.length ?? 0
      }
    }
  }
}

/** Digits of 2^53 − 1, so that rows of an author lie in order. */
const SEQUENCE_DIGITS = 16

function keyOf({ topicId, author, sequence, sentMs, bytes }: Kept): string {
  return `${PREFIX}/${topicId}/${author}/${String(sequence).padStart(SEQUENCE_DIGITS, '0')}.${sentMs}.${bytes}`
}

function keptOf(key: string): Kept | undefined {
  const [, topicId, author, sequence, sentMs, bytes] =
    /^\/muster\/history\/(\w+)\/(\w+)\/(\d{16})\.(\d{1,16})\.(\d{1,9})$/.exec(key) ?? []
  if (topicId === undefined || author === undefined) return undefined
  return { topicId, author, sequence: Number(sequence), sentMs: Number(sentMs), bytes: Number(bytes) }
}
