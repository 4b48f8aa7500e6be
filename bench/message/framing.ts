/** Bytes in front of each message, its length in big endian. */
export const PREFIX_BYTES = 4

/** Messages one after the other, each behind its length, as one buffer. */
export function framed(...messages: Uint8Array[]): Uint8Array {
  const total = messages.reduce((sum, { length }) => sum + PREFIX_BYTES + length, 0)
  const frames = Buffer.allocUnsafe(total)
  let at = 0
  for (const message of messages) {
    at = frames.writeUInt32BE(message.length, at)
    frames.set(message, at)
    at += message.length
  }
  return frames
}

/** Cuts bytes as they come into messages. Copies only the one that two pieces share. */
export function unframer(take: (message: Uint8Array) => void): (piece: Uint8Array) => void {
  let rest: Buffer | undefined
  return piece => {
    const view = Buffer.from(piece.buffer, piece.byteOffset, piece.length)
    const bytes = rest === undefined ? view : Buffer.concat([rest, view])
    let at = 0
    while (bytes.length - at >= PREFIX_BYTES) {
      const end = at + PREFIX_BYTES + bytes.readUInt32BE(at)
      if (end > bytes.length) break
      take(bytes.subarray(at + PREFIX_BYTES, end))
      at = end
    }
    rest = at === bytes.length ? undefined : bytes.subarray(at)
  }
}
