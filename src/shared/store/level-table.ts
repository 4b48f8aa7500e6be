import { crc32c, maskedCrc32c } from './crc32c.ts'
import { ByteReader } from './level-manifest.ts'

const FOOTER_BYTES = 48
const MAGIC = Uint8Array.of(0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb)
/** Compression type and checksum behind each block. */
const TRAILER_BYTES = 5

/**
 * Checks every block of a table of LevelDB against its checksum, the filter's included
 * (https://github.com/google/leveldb/blob/1.20/doc/table_format.md). The binding reads without looking at them, and a
 * flipped bit in the filter would hide rows.
 * @throws Error that says what is wrong.
 */
export function checkLevelTable(bytes: Uint8Array): void {
  if (bytes.length < FOOTER_BYTES) throw new Error('it is too short')
  const magicAt = bytes.length - MAGIC.length
  if (!MAGIC.every((byte, i) => bytes[magicAt + i] === byte)) throw new Error('it does not end as a table')
  const footer = new ByteReader(bytes.subarray(bytes.length - FOOTER_BYTES, magicAt))
  for (const index of [readHandle(footer), readHandle(footer)]) {
    const block = checkBlock(bytes, index)
    if (block !== undefined) for (const handle of handlesIn(block)) checkBlock(bytes, handle)
  }
}

interface Handle {
  readonly offset: number
  readonly size: number
}

function readHandle(reader: ByteReader): Handle {
  return { offset: reader.varint(), size: reader.varint() }
}

/** The content, where it is not compressed: Muster's tables never are. */
function checkBlock(bytes: Uint8Array, { offset, size }: Handle): Uint8Array | undefined {
  const end = offset + size
  if (end + TRAILER_BYTES > bytes.length) throw new Error('a block lies beyond its end')
  const claimed = new DataView(bytes.buffer, bytes.byteOffset + end + 1, 4).getUint32(0, true)
  if (maskedCrc32c(crc32c(bytes, offset, end + 1)) !== claimed) {
    throw new Error(`the block at byte ${offset} does not fit its checksum`)
  }
  return bytes[end] === 0 ? bytes.subarray(offset, end) : undefined
}

/** The values of an index block are handles of other blocks. At its end: an array of restart points, and its length. */
function* handlesIn(block: Uint8Array): Iterable<Handle> {
  if (block.length < 4) throw new Error('an index is too short')
  const restarts = new DataView(block.buffer, block.byteOffset + block.length - 4, 4).getUint32(0, true)
  const end = block.length - 4 - restarts * 4
  if (end < 0) throw new Error('an index is too short')
  const entries = new ByteReader(block.subarray(0, end))
  while (entries.hasMore) {
    entries.varint() // bytes the key shares with the one before
    const keyBytes = entries.varint()
    const valueBytes = entries.varint()
    entries.bytes(keyBytes)
    yield readHandle(new ByteReader(entries.bytes(valueBytes)))
  }
}
