import type { Batch, Datastore, Key } from 'interface-datastore'

/** Rows written in one go: a sync costs the same for one as for many. */
const BATCH_ROWS = 256

/** Writes of many rows, so many at a time. What was not committed is not written. */
export class Batches {
  readonly #datastore: Datastore
  #batch: Batch
  #rows = 0

  constructor(datastore: Datastore) {
    this.#datastore = datastore
    this.#batch = datastore.batch()
  }

  async put(key: Key, value: Uint8Array): Promise<void> {
    this.#batch.put(key, value)
    await this.#count()
  }

  async delete(key: Key): Promise<void> {
    this.#batch.delete(key)
    await this.#count()
  }

  /** Writes the rest. */
  async commit(): Promise<void> {
    if (this.#rows === 0) return
    const batch = this.#batch
    this.#batch = this.#datastore.batch()
    this.#rows = 0
    await batch.commit()
  }

  async #count(): Promise<void> {
    if (++this.#rows >= BATCH_ROWS) await this.commit()
  }
}
