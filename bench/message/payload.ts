/** A message that tells its number at both ends. What is in between does not matter. */
export function messageOf(number: number, bytes: number): Uint8Array {
  const message = Buffer.allocUnsafe(bytes)
  message.writeUInt32LE(number, 0)
  message.writeUInt32LE(number, bytes - 4)
  return message
}

function numberAt(bytes: Uint8Array, at: number): number {
  const byte = (offset: number) => bytes[at + offset] as number
  return (byte(0) | (byte(1) << 8) | (byte(2) << 16) | (byte(3) << 24)) >>> 0
}

/** @throws Error when this is not message `number`, whole. */
export function checkMessage(message: unknown, number: number, bytes: number): void {
  if (!(message instanceof Uint8Array)) throw new Error(`message ${number} came as ${typeof message}`)
  if (message.length !== bytes) throw new Error(`message ${number} came with ${message.length} of ${bytes} bytes`)
  const [first, last] = [numberAt(message, 0), numberAt(message, bytes - 4)]
  if (first !== number || last !== number) throw new Error(`message ${number} came as ${first}, ending as ${last}`)
}

/** The number a message says it has. */
export const numberOf = (message: Uint8Array): number => numberAt(message, 0)

/** 2^32 divided by the golden ratio: no two words nearby are alike, and no compressor gains by it. */
const MULTIPLIER = 0x9e3779b1
/** Bytes between those looked at: a prime, so that no piece size hides behind it. */
const STEP = 1021

/** A long value in which every place differs. */
export function longValue(bytes: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(bytes / 4))
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, MULTIPLIER)
  return new Uint8Array(words.buffer, 0, bytes)
}

/** Looks at one byte in {@link STEP} of the part of the value that begins at `from`. */
export function checkPart(part: Uint8Array, from: number): void {
  for (let at = Math.ceil(from / STEP) * STEP; at < from + part.length; at += STEP) {
    const expected = (Math.imul(at >>> 2, MULTIPLIER) >>> ((at & 3) * 8)) & 0xff
    if (part[at - from] !== expected) throw new Error(`byte ${at} of the value is not what was sent`)
  }
}
