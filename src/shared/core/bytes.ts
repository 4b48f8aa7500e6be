/** `parts` as one byte string; the only part itself, not a copy, when there is just one. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index])
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Two digits for each byte. */
export function hexOf(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += HEX[byte]
  return text
}

/** Gives out pieces of larger buffers: ten times cheaper than small buffers of their own (50 and 600 ns). */
function pieces(slabBytes: number): (length: number) => Uint8Array<ArrayBuffer> {
  let slab = new ArrayBuffer(slabBytes)
  let used = 0
  return length => {
    if (length > slabBytes / 8) return new Uint8Array(length)
    if (used + length > slabBytes) {
      slab = new ArrayBuffer(slabBytes)
      used = 0
    }
    const bytes = new Uint8Array(slab, used, length)
    used += length
    return bytes
  }
}

/** Bytes for what is soon written and forgotten: whoever keeps them keeps 64 KiB alive. */
export const shortLived = pieces(65_536)

/** A copy that may be kept: of a small one, as with Node's `Buffer.from`, up to 8 KiB stay alive with it. */
export function copyBytes(bytes: Uint8Array): Uint8Array {
  const copy = keepable(bytes.length)
  copy.set(bytes)
  return copy
}
const keepable = pieces(8_192)
