import { sha256 } from '@noble/hashes/sha2.js'
import { base58btc } from 'multiformats/bases/base58'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import type { PeerId } from '../core/address.ts'
import { concatBytes } from '../core/bytes.ts'
import { MusterError } from '../core/errors.ts'
import { VALUE_KIND } from '../wire/message.ts'
import { MAX_RECORD_KEY_BYTES, RECORD_KIND } from '../wire/record.ts'

/** What a record is stored under. Names are text of 1 to 256 bytes of UTF-8 in normal form C. */
export type RecordKey =
  /** The hash of the value, as a CID: nobody can change it. */
  | { readonly kind: 'content'; readonly cid: string }
  /** A name of one peer: only that one writes. */
  | { readonly kind: 'owned'; readonly owner: PeerId; readonly name: string }
  /** A name anybody may write. */
  | { readonly kind: 'open'; readonly name: string }

const DOMAIN = new TextEncoder().encode('muster/record/1\n')
const SHA2_256 = 0x12
/** Multicodecs of the two kinds of value. */
const CODEC = { [VALUE_KIND.json]: 0x0200, [VALUE_KIND.bytes]: 0x55 } as Readonly<Record<number, number>>

/**
 * The position of a key among the nodes of the DHT: the sha2-256 of `muster/record/1`, 0x0A, the kind in one byte, for an
 * owned key the length of the owner's peer id in one byte and the id, and the key as it is in the record.
 */
export function placeOf(key: RecordKey): Uint8Array {
  const owner = key.kind === 'owned' ? base58btc.baseDecode(key.owner) : undefined
  const parts = [DOMAIN, Uint8Array.of(RECORD_KIND[key.kind]), keyBytes(key)]
  if (owner !== undefined) parts.splice(2, 0, Uint8Array.of(owner.length), owner)
  return sha256(concatBytes(parts))
}

/** The key as it stands in a record. */
export function keyBytes(key: RecordKey): Uint8Array {
  return key.kind === 'content' ? CID.parse(key.cid).bytes : new TextEncoder().encode(key.name)
}

/** The key of a value that is stored under its own hash. */
export function contentKey(valueKind: number, value: Uint8Array): RecordKey & { readonly kind: 'content' } {
  const code = CODEC[valueKind]
  if (code === undefined) throw new MusterError('value-invalid', `values of kind ${valueKind} have no content key`)
  return { kind: 'content', cid: CID.createV1(code, createDigest(SHA2_256, sha256(value))).toString() }
}

/**
 * Reads the key of a record.
 * @throws MusterError `protocol-violation`.
 */
export function keyOf(kind: number, bytes: Uint8Array, author: PeerId): RecordKey {
  if (kind === RECORD_KIND.content) {
    const cid = CID.decode(bytes)
    if (cid.version !== 1 || cid.multihash.code !== SHA2_256 || cid.multihash.size !== 32)
      throw violation('a content key')
    return { kind: 'content', cid: cid.toString() }
  }
  const name = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  if (name === '' || name !== name.normalize('NFC')) throw violation('a name')
  if (kind === RECORD_KIND.owned) return { kind: 'owned', owner: author, name }
  if (kind === RECORD_KIND.open) return { kind: 'open', name }
  throw violation(`a key of kind ${kind}`)
}

/**
 * Judges a name as a user gives it.
 * @throws MusterError `key-invalid`.
 */
export function normalName(name: unknown): string {
  if (typeof name !== 'string') throw new MusterError('key-invalid', `a key is a string, not ${typeof name}`)
  if (!name.isWellFormed()) throw new MusterError('key-invalid', 'the key has a lone surrogate')
  const normal = name.normalize('NFC')
  const bytes = new TextEncoder().encode(normal).length
  if (bytes === 0) throw new MusterError('key-invalid', 'a key has at least one character')
  if (bytes > MAX_RECORD_KEY_BYTES) {
    throw new MusterError('key-invalid', `the key is ${bytes} bytes long; at most ${MAX_RECORD_KEY_BYTES}`)
  }
  return normal
}

/**
 * Judges a content key as a user gives it.
 * @throws MusterError `key-invalid`.
 */
export function normalCid(text: unknown): string {
  try {
    const cid = CID.parse(String(text))
    const isOurs =
      Object.values(CODEC).includes(cid.code) && cid.multihash.code === SHA2_256 && cid.multihash.size === 32
    if (cid.version === 1 && isOurs) return cid.toString()
  } catch (cause) {
    throw new MusterError('key-invalid', `${JSON.stringify(text)} is no content key: bafkrei… or bagaaiera…`, { cause })
  }
  throw new MusterError('key-invalid', `${JSON.stringify(text)} is the CID of something else than a record`)
}

function violation(what: string): MusterError {
  return new MusterError('protocol-violation', `${what} that is none`)
}
