/** What a MANIFEST says must be there. */
export interface LevelState {
  /** The oldest log whose rows are in no table yet; undefined until the database was opened once. */
  readonly logNumber: number | undefined
  /** Live tables: number → bytes. */
  readonly tables: ReadonlyMap<number, number>
}

/** Bytes that are read once, front to back. Throws `RangeError` at the end. */
export class ByteReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get hasMore(): boolean {
    return this.#at < this.#bytes.length
  }

  varint(): number {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined || factor > 2 ** 56) throw new RangeError('a number does not end')
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
    }
  }

  bytes(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw new RangeError('a length goes beyond the end')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  prefixed(): Uint8Array {
    return this.bytes(this.varint())
  }
}

/**
 * Applies the version edits of a MANIFEST in order (`db/version_edit.cc` of LevelDB 1.20 has the tags).
 * @throws Error when an edit makes no sense or what every database has is missing.
 */
export function readManifest(edits: readonly Uint8Array[]): LevelState {
  const tables = new Map<number, number>()
  const seen = new Set<number>()
  let logNumber = 0
  for (const edit of edits) {
    const reader = new ByteReader(edit)
    while (reader.hasMore) {
      const tag = reader.varint()
      seen.add(tag)
      if (tag === 1)
        reader.prefixed() // the comparator's name
      else if (tag === 2) logNumber = reader.varint()
      else if (tag === 3 || tag === 4 || tag === 9)
        reader.varint() // next file, last sequence, previous log
      else if (tag === 5) {
        reader.varint() // where the next compaction of a level starts
        reader.prefixed()
      } else if (tag === 6) {
        reader.varint()
        tables.delete(reader.varint())
      } else if (tag === 7) {
        reader.varint()
        const number = reader.varint()
        tables.set(number, reader.varint())
        reader.prefixed() // smallest and largest key
        reader.prefixed()
      } else throw new Error(`an edit has the unknown tag ${tag}`)
    }
  }
  for (const tag of [1, 2, 3, 4]) if (!seen.has(tag)) throw new Error('it ends too early')
  return { logNumber: logNumber === 0 ? undefined : logNumber, tables }
}
