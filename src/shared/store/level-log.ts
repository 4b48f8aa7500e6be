import { concatBytes } from '../core/bytes.ts'
import { crc32c, maskedCrc32c } from './crc32c.ts'

const BLOCK_BYTES = 32_768
const HEADER_BYTES = 7
/** What the systems write to a disk at once. */
const PAGE_BYTES = 4096

const FULL = 1
const FIRST = 2
const LAST = 4 // and 3 is a middle part

export interface LevelLog {
  /** The whole records up to the end or the first damage. */
  readonly records: readonly Uint8Array[]
  /** Where a record is broken although a sound one follows it: that is no torn tail. */
  readonly damagedAt: number | undefined
  /** Bytes at the end that make no record: what a crash cut off. */
  readonly tornBytes: number
}

/**
 * Reads a log of LevelDB, which a MANIFEST is too: blocks of 32 KiB, in them fragments of records, each with checksum,
 * length and type in front (https://github.com/google/leveldb/blob/1.20/doc/log_format.md).
 *
 * LevelDB itself passes over whatever it cannot read, and deletes the log afterwards. Here two cases are told apart.
 * A crash leaves a prefix of what was written, and a power cut may leave zeros where a page never reached the disk:
 * nothing of that had been acknowledged. Anything else that is broken and has a sound record after it was damaged later.
 */
export function readLevelLog(bytes: Uint8Array): LevelLog {
  const records: Uint8Array[] = []
  let parts: Uint8Array[] | undefined // of the record that is open
  let soundEnd = 0
  let at = 0
  while (at < bytes.length) {
    const left = BLOCK_BYTES - (at % BLOCK_BYTES)
    if (left < HEADER_BYTES) {
      at += left // too short for a header: zeros by definition
      continue
    }
    const fragment = readFragment(bytes, at)
    if (fragment === undefined) {
      const next = nextFragment(bytes, at + 1)
      if (next === undefined) break
      if (!hasLostPage(bytes, at, next)) return { records, damagedAt: at, tornBytes: 0 }
      at = next
      parts = undefined
      continue
    }
    at = fragment.end
    if (fragment.type === FULL || fragment.type === FIRST) parts = []
    parts?.push(fragment.payload) // what follows a hole may lack its first part
    if (fragment.type === FULL || fragment.type === LAST) {
      if (parts !== undefined) records.push(concatBytes(parts))
      parts = undefined
      soundEnd = at
    }
  }
  return { records, damagedAt: undefined, tornBytes: bytes.length - soundEnd }
}

interface Fragment {
  readonly type: number
  readonly payload: Uint8Array
  readonly end: number
}

function readFragment(bytes: Uint8Array, at: number): Fragment | undefined {
  const start = at + HEADER_BYTES
  if (start > bytes.length) return undefined
  const type = bytes[at + 6]!
  if (type < FULL || type > LAST) return undefined
  const end = start + (bytes[at + 4]! | (bytes[at + 5]! << 8))
  const blockEnd = at - (at % BLOCK_BYTES) + BLOCK_BYTES
  if (end > bytes.length || end > blockEnd) return undefined
  const claimed = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true)
  if (maskedCrc32c(crc32c(bytes, at + 6, end)) !== claimed) return undefined
  return { type, payload: bytes.subarray(start, end), end }
}

/** The next place where a fragment with a fitting checksum starts: after damage a length tells nothing. */
function nextFragment(bytes: Uint8Array, from: number): number | undefined {
  for (let at = from; at + HEADER_BYTES <= bytes.length; at++) {
    if (BLOCK_BYTES - (at % BLOCK_BYTES) >= HEADER_BYTES && readFragment(bytes, at) !== undefined) return at
  }
  return undefined
}

/** Whether a page between `start` and `end` is all zeros: the system had made room for it and not written it yet. */
function hasLostPage(bytes: Uint8Array, start: number, end: number): boolean {
  for (let page = Math.ceil(start / PAGE_BYTES) * PAGE_BYTES; page + PAGE_BYTES <= end; page += PAGE_BYTES) {
    if (bytes.subarray(page, page + PAGE_BYTES).every(byte => byte === 0)) return true
  }
  return false
}
