import type { PeerId } from '../core/address.ts'
import { equalBytes } from '../core/bytes.ts'
import { MAX_AUTHOR_RECORDS } from './limits.ts'
import type { AuthorRecord, OpenRecord } from './open.ts'

/** Member records that were verified: the same one comes with every broadcast of its author, and a signature costs 0.1 ms. */
export class KnownRecords {
  readonly #open: OpenRecord
  /** By author, the one used longest ago first. */
  readonly #known = new Map<PeerId, { readonly envelope: Uint8Array; readonly record: AuthorRecord }>()

  constructor(open: OpenRecord) {
    this.#open = open
  }

  /** For broadcasts of one author. */
  openOf(author: PeerId): OpenRecord {
    return async (envelope, atMs) => {
      const known = this.#known.get(author)
      if (known !== undefined && known.record.issuedMs <= atMs && atMs < known.record.expiresMs) {
        if (equalBytes(known.envelope, envelope)) return known.record
      }
      const record = await this.#open(envelope, atMs)
      this.#known.delete(author)
      this.#known.set(author, { envelope: envelope.slice(), record }) // not a view: it would keep the whole message alive
      const [oldest] = this.#known.keys()
      if (this.#known.size > MAX_AUTHOR_RECORDS && oldest !== undefined) this.#known.delete(oldest)
      return record
    }
  }
}
