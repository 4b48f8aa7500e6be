import { MusterError } from '../../shared/core/errors.ts'
import { MAX_FILE_MESSAGE_BYTES } from './file-limits.ts'

// On a stream named FILE_STREAM: from the sender a message {name, size}, `size` bytes, and their SHA-256 (32 bytes);
// from the receiver one message: {bytes, sha256} once the file is on disk under its name, or {refused} with a code.
// A message is an unsigned 32-bit big-endian length and JSON in UTF-8 of that length.

export const FILE_STREAM = 'muster/file'
const LENGTH_BYTES = 4
export const digestBytes = 32

export interface FileHeader {
  readonly name: string
  readonly size: number
}

/** Why a file was not taken. */
export type FileRefusal = 'too-large' | 'limit-reached' | 'no-space' | 'not-saved'

export type FileAnswer = { readonly bytes: number; readonly sha256: string } | { readonly refused: FileRefusal }

export function encodeFileMessage(message: FileHeader | FileAnswer): Uint8Array {
  const json = Buffer.from(JSON.stringify(message))
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt32BE(json.length)
  return Buffer.concat([length, json])
}

/** Bytes of a stream as they are asked for. */
export class StreamReader {
  readonly #pieces: AsyncIterator<Uint8Array>
  readonly #onPiece: () => void
  #rest: Uint8Array = new Uint8Array(0)

  constructor(stream: AsyncIterable<Uint8Array>, onPiece: () => void = () => undefined) {
    this.#pieces = stream[Symbol.asyncIterator]()
    this.#onPiece = onPiece
  }

  /** What comes next, at most `max` bytes of it; undefined at the end. */
  async some(max: number): Promise<Uint8Array | undefined> {
    if (this.#rest.length === 0) {
      const next = await this.#pieces.next()
      if (next.done === true) return undefined
      this.#rest = next.value
      this.#onPiece()
    }
    const piece = this.#rest.subarray(0, max)
    this.#rest = this.#rest.subarray(piece.length)
    return piece
  }

  /** @throws MusterError `protocol-violation` when the stream ends before. */
  async exactly(count: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(count)
    for (let at = 0; at < count; ) {
      const piece = await this.some(count - at)
      if (piece === undefined) throw violation('the stream of a file ended too early')
      bytes.set(piece, at)
      at += piece.length
    }
    return bytes
  }

  /** @throws MusterError `protocol-violation` when it is too long, or no JSON object. */
  async message(): Promise<Record<string, unknown>> {
    const length = Buffer.from(await this.exactly(LENGTH_BYTES)).readUInt32BE()
    if (length > MAX_FILE_MESSAGE_BYTES) throw violation('a message about a file is too long')
    const json = Buffer.from(await this.exactly(length)).toString()
    try {
      return Object(JSON.parse(json)) as Record<string, unknown>
    } catch (cause) {
      throw violation('a message about a file is no JSON', cause)
    }
  }
}

/** @throws MusterError `protocol-violation`. */
export async function readHeader(reader: StreamReader): Promise<FileHeader> {
  const { name, size } = await reader.message()
  if (typeof name !== 'string' || !Number.isSafeInteger(size) || (size as number) < 0) {
    throw violation('a file has no name or no size')
  }
  return { name, size: size as number }
}

/**
 * Reads the receiver's answer, and says in our words why it did not take the file.
 * @throws MusterError `too-large` | `limit-reached` | `refused`, or what broke the stream.
 */
export async function readFileAnswer(reader: StreamReader): Promise<{ bytes: unknown; sha256: unknown }> {
  const { refused, bytes, sha256 } = await reader.message()
  switch (refused) {
    case undefined:
      return { bytes, sha256 }
    case 'too-large':
      throw new MusterError('too-large', 'the other side takes no files of this size')
    case 'limit-reached':
      throw new MusterError('limit-reached', 'the other side takes no more files at once')
    case 'no-space':
      throw new MusterError('refused', 'the other side has no space left on its disk')
    default:
      throw new MusterError('refused', 'the other side could not save the file')
  }
}

function violation(what: string, cause?: unknown): MusterError {
  return new MusterError('protocol-violation', what, { cause })
}
