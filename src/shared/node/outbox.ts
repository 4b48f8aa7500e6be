import { Uint8ArrayList } from 'uint8arraylist'
import { encodeFrames, FRAME_PREFIX_BYTES } from '../wire/frames.ts'

/** Bytes that leave together: what one write to a stream is cut to, unless a single frame is longer. */
export const BUNDLE_BYTES = 65_536
/** A frame from here on is handed over as it is; copying it costs more than one more part in a list. */
const MIN_UNCOPIED_BYTES = 8_192

/** Frames that wait to be written, in order; they leave as bundles, many small frames in one byte string. */
export class Outbox {
  #frames: Uint8Array[] = []
  #head = 0
  #bytes = 0

  /** Bytes that wait, prefixes included. */
  get bytes(): number {
    return this.#bytes
  }

  get isEmpty(): boolean {
    return this.#bytes === 0
  }

  push(frame: Uint8Array): void {
    this.#frames.push(frame)
    this.#bytes += FRAME_PREFIX_BYTES + frame.length
  }

  clear(): void {
    this.#frames = []
    this.#head = 0
    this.#bytes = 0
  }

  /** The next bundle: as many frames as fit, at least one. */
  take(): Uint8Array | Uint8ArrayList {
    const bundle: Uint8Array[] = []
    let copied: Uint8Array[] = []
    let bytes = 0
    while (this.#head < this.#frames.length) {
      const frame = this.#frames[this.#head] as Uint8Array
      const cost = FRAME_PREFIX_BYTES + frame.length
      if (bytes > 0 && bytes + cost > BUNDLE_BYTES) break
      this.#head++
      bytes += cost
      if (frame.length < MIN_UNCOPIED_BYTES) {
        copied.push(frame)
        continue
      }
      if (copied.length > 0) bundle.push(encodeFrames(copied))
      bundle.push(prefixOf(frame), frame)
      copied = []
    }
    if (copied.length > 0) bundle.push(encodeFrames(copied))
    if (this.#head === this.#frames.length) this.clear()
    else this.#bytes -= bytes
    const [only] = bundle
    return bundle.length === 1 && only !== undefined ? only : new Uint8ArrayList(...bundle)
  }
}

function prefixOf(frame: Uint8Array): Uint8Array {
  const prefix = new Uint8Array(FRAME_PREFIX_BYTES)
  new DataView(prefix.buffer).setUint32(0, frame.length)
  return prefix
}
