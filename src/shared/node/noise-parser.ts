import { MusterError } from '../core/errors.ts'

/** Bytes of length in front of every Noise message. */
export const LENGTH_BYTES = 2

/**
 * Cuts a byte stream into Noise messages, each with two bytes of length in front. Whole messages are views of what
 * came; one that came in pieces is put together once, in a buffer of its length: at most 65,535 bytes are held.
 */
export class NoiseParser {
  readonly #minBytes: number
  /** The first byte of a length whose second has not come. */
  #firstByte = -1
  #partial: Uint8Array | undefined
  #filled = 0

  /** `minBytes`: a shorter message cannot be one. */
  constructor(minBytes: number) {
    this.#minBytes = minBytes
  }

  /** True between two messages. */
  get isIdle(): boolean {
    return this.#firstByte < 0 && this.#partial === undefined
  }

  /**
   * Calls `found` for every message that `chunk` completes.
   * @throws MusterError `protocol-violation` when a length cannot be that of a message; and whatever `found` throws.
   */
  push(chunk: Uint8Array, found: (message: Uint8Array) => void): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#partial !== undefined) {
        at = this.#fill(this.#partial, chunk, at, found)
        continue
      }
      if (this.#firstByte < 0) {
        this.#firstByte = chunk[at++] as number
        if (at === chunk.length) return
      }
      const length = (this.#firstByte << 8) | (chunk[at++] as number)
      this.#firstByte = -1
      if (length < this.#minBytes) throw new MusterError('protocol-violation', `a Noise message of ${length} bytes`)
      if (at + length <= chunk.length) {
        found(chunk.subarray(at, at + length))
        at += length
      } else {
        this.#partial = new Uint8Array(length)
        this.#filled = 0
      }
    }
  }

  #fill(partial: Uint8Array, chunk: Uint8Array, start: number, found: (message: Uint8Array) => void): number {
    const end = Math.min(chunk.length, start + partial.length - this.#filled)
    partial.set(chunk.subarray(start, end), this.#filled)
    this.#filled += end - start
    if (this.#filled === partial.length) {
      this.#partial = undefined
      found(partial)
    }
    return end
  }
}
