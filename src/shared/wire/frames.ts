import { concatBytes } from '../core/bytes.ts'
import { MusterError } from '../core/errors.ts'

/** Bytes of a frame's length prefix: an unsigned 32-bit big-endian integer. */
export const FRAME_PREFIX_BYTES = 4

/** `frames` as one byte string: each with its length in front. */
export function encodeFrames(frames: readonly Uint8Array[]): Uint8Array {
  let total = 0
  for (const frame of frames) total += FRAME_PREFIX_BYTES + frame.length
  const bytes = new Uint8Array(total)
  const view = new DataView(bytes.buffer)
  let offset = 0
  for (const frame of frames) {
    view.setUint32(offset, frame.length)
    bytes.set(frame, offset + FRAME_PREFIX_BYTES)
    offset += FRAME_PREFIX_BYTES + frame.length
  }
  return bytes
}

/** Pieces of one frame that are kept apart: one of a single byte takes 200, and keeps the chunk it came in alive. */
const MAX_PIECES = 256

/**
 * Cuts a byte stream into frames. A length is judged before anything is held for it, and what is held grows with
 * what arrived, not with what was claimed. Holds at most one unfinished frame.
 */
export class FrameDecoder {
  readonly #maxFrameBytes: number
  readonly #prefix = new Uint8Array(FRAME_PREFIX_BYTES)
  #prefixFilled = 0
  #parts: Uint8Array[] = []
  #missing = 0

  constructor(maxFrameBytes: number) {
    this.#maxFrameBytes = maxFrameBytes
  }

  /** True when no unfinished frame waits for more bytes. */
  get isIdle(): boolean {
    return this.#prefixFilled === 0 && this.#missing === 0
  }

  /**
   * The frames that `chunk` completes. A frame that lies whole inside the chunk is a view of it, not a copy.
   * @throws MusterError `too-large` when a prefix claims more than the limit; the decoder is unusable then.
   */
  push(chunk: Uint8Array): Uint8Array[] {
    const frames: Uint8Array[] = []
    let at = 0
    while (at < chunk.length) {
      if (this.#missing > 0) {
        const part = chunk.subarray(at, at + this.#missing)
        at += part.length
        this.#missing -= part.length
        this.#parts.push(part)
        if (this.#missing === 0) {
          frames.push(concatBytes(this.#parts))
          this.#parts = []
        } else if (this.#parts.length >= MAX_PIECES) this.#parts = [concatBytes(this.#parts)]
        continue
      }
      const end = at + FRAME_PREFIX_BYTES
      let length: number
      if (this.#prefixFilled === 0 && end <= chunk.length) {
        length = prefixAt(chunk, at)
        at = end
      } else {
        const taken = Math.min(FRAME_PREFIX_BYTES - this.#prefixFilled, chunk.length - at)
        this.#prefix.set(chunk.subarray(at, at + taken), this.#prefixFilled)
        this.#prefixFilled += taken
        at += taken
        if (this.#prefixFilled < FRAME_PREFIX_BYTES) break
        this.#prefixFilled = 0
        length = prefixAt(this.#prefix, 0)
      }
      if (length > this.#maxFrameBytes) {
        throw new MusterError('too-large', `a frame claims ${length} bytes; at most ${this.#maxFrameBytes}`)
      }
      if (length > 0 && at + length <= chunk.length) {
        frames.push(chunk.subarray(at, at + length))
        at += length
        continue
      }
      if (length === 0) frames.push(new Uint8Array(0))
      this.#missing = length
    }
    return frames
  }
}

function prefixAt(bytes: Uint8Array, at: number): number {
  // in plain arithmetic: a DataView for each of a million frames a second is felt
  const high = (bytes[at] as number) * 0x1000000
  return high + (((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number))
}
