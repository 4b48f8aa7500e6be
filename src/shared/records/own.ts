import { type Datastore, Key } from 'interface-datastore'
import { hexOf } from '../core/bytes.ts'
import { asError, MusterError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { codec } from '../wire/codec.ts'
import { Batches } from './batches.ts'
import { MAX_OWN_RECORDS } from './limits.ts'
import { peekRecord, type SignedRecord } from './record.ts'

const PREFIX = '/muster/record/own'

/** A record this node wrote, and keeps alive in the network while it runs. */
export interface OwnRecord {
  readonly record: SignedRecord
  /** Signed anew before it expires, for so many milliseconds; undefined: it ends with its time. */
  readonly renewMs: number | undefined
  /** When it was said last, and how many nodes stored it then. */
  readonly saidMs: number
  readonly stored: number
}

const rowCodec = codec({
  envelope: { id: 1, type: 'bytes', required: true },
  renewMs: { id: 2, type: 'uint64' },
  saidMs: { id: 3, type: 'uint64', required: true },
  stored: { id: 4, type: 'uint32', required: true }
})

/** Records of this node's own, in memory and on disk: `/muster/record/own/<place in hex>`. */
export class OwnRecords {
  readonly #datastore: Datastore
  readonly #log: Log
  readonly #records = new Map<string, OwnRecord>()

  constructor(datastore: Datastore, log: Log) {
    this.#datastore = datastore
    this.#log = log
  }

  async recall(signal?: AbortSignal): Promise<void> {
    const batches = new Batches(this.#datastore)
    for await (const { key, value } of this.#datastore.query({ prefix: PREFIX })) {
      signal?.throwIfAborted()
      try {
        const { envelope, renewMs, saidMs, stored } = rowCodec.decode(value)
        const record = peekRecord(envelope)
        this.#records.set(hexOf(record.place), { record, renewMs, saidMs, stored })
      } catch (thrown) {
        this.#log.error(
          { err: asError(thrown), key: key.toString() },
          'a record of our own is not readable and was dropped'
        )
        await batches.delete(key)
      }
    }
    await batches.commit()
  }

  get(place: Uint8Array): OwnRecord | undefined {
    return this.#records.get(hexOf(place))
  }

  all(): OwnRecord[] {
    return [...this.#records.values()]
  }

  /** Resolves once it is on disk. @throws MusterError `limit-reached`. */
  async set(own: OwnRecord): Promise<void> {
    const row = hexOf(own.record.place)
    if (!this.#records.has(row) && this.#records.size >= MAX_OWN_RECORDS) {
      throw new MusterError('limit-reached', `this node has ${MAX_OWN_RECORDS} records of its own; delete some`)
    }
    const { record, renewMs, saidMs, stored } = own
    this.#records.set(row, own)
    const value = rowCodec.encode({
      envelope: record.envelope,
      saidMs,
      stored,
      ...(renewMs === undefined ? {} : { renewMs })
    })
    await this.#datastore.put(keyOf(row), value)
  }

  async delete(place: Uint8Array): Promise<void> {
    const row = hexOf(place)
    this.#records.delete(row)
    await this.#datastore.delete(keyOf(row))
  }
}

function keyOf(row: string): Key {
  return new Key(`${PREFIX}/${row}`)
}
