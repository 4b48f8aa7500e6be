import { MusterError } from '../../shared/core/errors.ts'
import { ENCODING, PART_BYTES } from '../../shared/wire/message.ts'
import { decodeValue, type EncodedValue, type PackedValue } from '../value.ts'

/** Compressing, by the numbers of `ENCODING`. */
export interface Compression {
  /** The sum of those it knows. */
  readonly encodings: number
  compressSync(encoding: number, bytes: Uint8Array): Uint8Array
  compress(encoding: number, bytes: Uint8Array): Promise<Uint8Array>
  /** Throws rather than produce more than `maxBytes`. */
  decompressSync(encoding: number, bytes: Uint8Array, maxBytes: number): Uint8Array
  decompress(encoding: number, bytes: Uint8Array, maxBytes: number): Promise<Uint8Array>
}

/** What the other side of a stream said of itself. */
export interface Terms {
  /** The sum of the encodings it reads. */
  readonly encodings: number
  /** Longest value it takes, in bytes. */
  readonly maxBytes: number
}

export type Unpacked = ReturnType<typeof decodeValue>

/**
 * Compresses a value where that is wanted, understood, and makes it shorter; beside the event loop when it is large.
 * `encodings` is the sum of those the other side reads.
 */
export function pack(
  value: EncodedValue,
  { encodings, compressAbove }: { readonly encodings: number; readonly compressAbove: number },
  compression: Compression | undefined
): PackedValue | Promise<PackedValue> {
  const { body } = value
  const plain = { ...value, encoding: undefined, rawSize: body.length }
  if (compression === undefined || body.length <= compressAbove) return plain
  const encoding = [ENCODING.brotli, ENCODING.deflate].find(each => (encodings & compression.encodings & each) !== 0)
  if (encoding === undefined) return plain
  const choose = (packed: Uint8Array): PackedValue =>
    packed.length < body.length ? { ...plain, body: packed, encoding } : plain
  if (body.length <= PART_BYTES) return choose(compression.compressSync(encoding, body))
  return compression.compress(encoding, body).then(choose)
}

/**
 * The value of a message; beside the event loop when it was compressed and is large.
 * @returns undefined for a kind or an encoding this version does not know.
 * @throws MusterError `protocol-violation` when the bytes are not what they are said to be; also as a rejection.
 */
export function unpack(
  { kind, body, encoding, rawSize }: PackedValue,
  compression: Compression | undefined
): Unpacked | Promise<Unpacked> {
  if (encoding === undefined) return decodeValue({ kind, body })
  const isKnown = Object.values<number>(ENCODING).includes(encoding)
  if (compression === undefined || !isKnown || (compression.encodings & encoding) === 0) return undefined
  const decode = (bytes: Uint8Array): Unpacked => {
    if (bytes.length !== rawSize)
      throw new MusterError('protocol-violation', 'a value is not as long as it was said to be')
    return decodeValue({ kind, body: bytes })
  }
  if (rawSize <= PART_BYTES) return decode(attempt(() => compression.decompressSync(encoding, body, rawSize)))
  return compression.decompress(encoding, body, rawSize).then(decode, thrown => {
    throw malformed(thrown)
  })
}

function attempt(decompress: () => Uint8Array): Uint8Array {
  try {
    return decompress()
  } catch (thrown) {
    throw malformed(thrown)
  }
}

function malformed(cause: unknown): MusterError {
  return new MusterError('protocol-violation', 'a compressed value is damaged, or longer than it was said to be', {
    cause
  })
}
