import { hexOf } from '../core/bytes.ts'
import { MAX_REMEMBERED_READS } from './limits.ts'
import { compareRecords, peekRecord, type SignedRecord } from './record.ts'

/** The newest of what this node has read or written: what it has seen it never unsees. */
export class Seen {
  readonly #records = new Map<string, SignedRecord>()

  get(place: Uint8Array): SignedRecord | undefined {
    return this.#records.get(hexOf(place))
  }

  add(record: SignedRecord): void {
    const row = hexOf(record.place)
    const seen = this.#records.get(row)
    if (seen !== undefined && compareRecords(record, seen) < 0) return
    this.#records.delete(row) // the one seen longest ago makes room
    this.#records.set(row, kept(record))
    if (this.#records.size > MAX_REMEMBERED_READS) this.#records.delete(this.#records.keys().next().value as string)
  }
}

/** Its bytes in a buffer of their own: what came in is part of a larger one. */
function kept(record: SignedRecord): SignedRecord {
  return record.envelope.byteLength === record.envelope.buffer.byteLength ? record : peekRecord(record.envelope.slice())
}
