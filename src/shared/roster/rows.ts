import { type Datastore, Key } from 'interface-datastore'
import type { MemberRecord } from './record.ts'

const PREFIX = '/muster/roster'

/** What a row is found by. */
export type RowName = Pick<MemberRecord, 'topicId' | 'peerId'>

/** Member records on disk, one row each: `/muster/roster/<topic key>/<peer id>` → the signed envelope. */
export class RosterRows {
  readonly #datastore: Datastore

  constructor(datastore: Datastore) {
    this.#datastore = datastore
  }

  async put(record: MemberRecord): Promise<void> {
    await this.#datastore.put(keyOf(record), record.envelope)
  }

  async delete(row: RowName): Promise<void> {
    await this.#datastore.delete(keyOf(row))
  }

  /** Every row; a row that is not readable is the caller's to judge. */
  async *all(): AsyncIterable<{ readonly envelope: Uint8Array; discard(): Promise<void> }> {
    for await (const { key, value } of this.#datastore.query({ prefix: PREFIX })) {
      yield { envelope: value, discard: async () => await this.#datastore.delete(key) }
    }
  }
}

function keyOf({ topicId, peerId }: RowName): Key {
  return new Key(`${PREFIX}/${topicId}/${peerId}`)
}
