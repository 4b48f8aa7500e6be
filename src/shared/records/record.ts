import { sha256 } from '@noble/hashes/sha2.js'
import { base58btc } from 'multiformats/bases/base58'
import type { PeerId } from '../core/address.ts'
import { concatBytes } from '../core/bytes.ts'
import { MusterError } from '../core/errors.ts'
import type { Node, Unseal } from '../node/port.ts'
import { codec } from '../wire/codec.ts'
import { MAX_RECORD_ENVELOPE_BYTES, RECORD_KIND, recordCodec } from '../wire/record.ts'
import { contentKey, keyBytes, keyOf, placeOf, type RecordKey } from './key.ts'
import { MAX_RECORD_SKEW_MS, MAX_RECORD_VALIDITY_MS } from './limits.ts'

/** The domain records are signed under; the envelope's payload type is `/muster/record`. */
export const RECORD_DOMAIN = 'record'

/** A value in bytes, and how to read them: one of `VALUE_KIND`. */
export interface RecordValue {
  readonly kind: number
  readonly body: Uint8Array
}

/** One version of what is stored under a key, signed by its author. */
export interface SignedRecord {
  readonly key: RecordKey
  /** Where it belongs: see `placeOf`. */
  readonly place: Uint8Array
  readonly author: PeerId
  readonly sequence: number
  readonly issuedMs: number
  readonly expiresMs: number
  /** Undefined: a tombstone. */
  readonly value: RecordValue | undefined
  /** sha2-256 of what is signed: the last word between two of one sequence and time. */
  readonly digest: Uint8Array
  /** The signed bytes, as they travel. */
  readonly envelope: Uint8Array
}

export type RecordFault = 'malformed' | 'signature' | 'expired' | 'future'

/** Why a record does not count; `fault` is what the metric counts. */
export class InvalidRecord extends MusterError {
  readonly fault: RecordFault

  constructor(fault: RecordFault, message: string, cause?: unknown) {
    super('record-invalid', message, { cause })
    this.fault = fault
  }
}

export type RecordFields = Pick<SignedRecord, 'key' | 'sequence' | 'issuedMs' | 'expiresMs' | 'value'>

export async function signRecord(node: Pick<Node, 'seal' | 'peerId'>, fields: RecordFields): Promise<SignedRecord> {
  const { key, sequence, issuedMs, expiresMs, value } = fields
  const payload = recordCodec.encode({
    kind: RECORD_KIND[key.kind],
    key: keyBytes(key),
    sequence,
    issuedMs,
    expiresMs,
    ...(value === undefined ? {} : { valueKind: value.kind, value: value.body })
  })
  const envelope = await node.seal(RECORD_DOMAIN, payload, MAX_RECORD_ENVELOPE_BYTES)
  return { ...fields, author: node.peerId, place: placeOf(key), digest: sha256(payload), envelope }
}

/**
 * Reads and judges a record, cheap things first: size, form, the key's own rule, that it is not from the future, then the
 * signature. Whether it has expired is for the caller to ask: an expired one still outweighs an older one.
 * @throws InvalidRecord
 */
export async function openRecord(envelope: Uint8Array, unseal: Unseal, now: number): Promise<SignedRecord> {
  return await proveRecord(peekRecord(envelope), unseal, now)
}

/**
 * The rest of {@link openRecord}, for a record that was peeked at.
 * @throws InvalidRecord
 */
export async function proveRecord(claimed: SignedRecord, unseal: Unseal, now: number): Promise<SignedRecord> {
  if (claimed.issuedMs > now + MAX_RECORD_SKEW_MS) throw new InvalidRecord('future', 'a record from the future')
  await unseal(RECORD_DOMAIN, claimed.envelope, MAX_RECORD_ENVELOPE_BYTES).catch(cause => {
    throw new InvalidRecord('signature', 'the signature of a record does not hold', cause)
  })
  return claimed
}

/**
 * What a record claims, before its signature is looked at: to see that it is old news without that cost.
 * @throws InvalidRecord `malformed`.
 */
export function peekRecord(envelope: Uint8Array): SignedRecord {
  try {
    if (envelope.length > MAX_RECORD_ENVELOPE_BYTES) throw new Error(`${envelope.length} bytes`)
    const { publicKey, payload } = unprovenEnvelopeCodec.decode(envelope)
    const author = peerIdOfKey(publicKey)
    const { kind, key: bytes, sequence, issuedMs, expiresMs, valueKind, value: body } = recordCodec.decode(payload)
    if ((body === undefined) !== (valueKind === undefined)) throw new Error('half a value')
    const value = body === undefined || valueKind === undefined ? undefined : { kind: valueKind, body }
    const key = keyOf(kind, bytes, author)
    const validityMs = expiresMs - issuedMs
    if (validityMs <= 0 || validityMs > MAX_RECORD_VALIDITY_MS) throw new Error(`valid for ${validityMs} ms`)
    if (sequence < 1 || sequence > issuedMs) throw new Error('a sequence ahead of its time')
    if (key.kind === 'content' && (value === undefined || contentKey(value.kind, value.body).cid !== key.cid)) {
      throw new Error('a value that is not that of its content key')
    }
    const digest = sha256(payload)
    return { key, place: placeOf(key), author, sequence, issuedMs, expiresMs, value, digest, envelope }
  } catch (cause) {
    throw new InvalidRecord('malformed', 'a malformed record', cause)
  }
}

/** What decides which of two records of one place is the newer one. */
export type Version = Pick<SignedRecord, 'sequence' | 'issuedMs' | 'expiresMs' | 'digest'> & {
  readonly kind: RecordKey['kind']
}

/**
 * Above 0 when `a` is newer than `b`, 0 only when they are the same: by sequence, then time, then hash. Of one content,
 * which has one value only, the one that lasts longer.
 */
export function compareVersions(a: Version, b: Version): number {
  if (a.kind === 'content') return a.expiresMs - b.expiresMs || compareBytes(a.digest, b.digest)
  return a.sequence - b.sequence || a.issuedMs - b.issuedMs || compareBytes(a.digest, b.digest)
}

export function versionOf({ key, sequence, issuedMs, expiresMs, digest }: SignedRecord): Version {
  return { kind: key.kind, sequence, issuedMs, expiresMs, digest }
}

/** Above 0 when `a` is the newer record. */
export function compareRecords(a: SignedRecord, b: SignedRecord): number {
  return compareVersions(versionOf(a), versionOf(b))
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < a.length; at++) {
    const difference = (a[at] as number) - (b[at] as number)
    if (difference !== 0) return difference
  }
  return 0
}

// RFC 0002; the whole of it is judged with the signature.
const unprovenEnvelopeCodec = codec({
  publicKey: { id: 1, type: 'bytes', required: true },
  payload: { id: 3, type: 'bytes', required: true }
})

/** The peer id of an Ed25519 key: its protobuf as an identity multihash. */
function peerIdOfKey(publicKey: Uint8Array): PeerId {
  if (publicKey.length !== 36) throw new Error('a key that is not Ed25519')
  return base58btc.baseEncode(concatBytes([Uint8Array.of(0x00, 36), publicKey]))
}
