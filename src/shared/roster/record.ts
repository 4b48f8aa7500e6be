import type { PeerId } from '../core/address.ts'
import { MusterError } from '../core/errors.ts'
import { type TopicId, topicIdOf } from '../core/topic.ts'
import type { Node, Unseal } from '../node/port.ts'
import { codec } from '../wire/codec.ts'
import { memberRecordCodec } from '../wire/topic.ts'
import { MAX_CLOCK_SKEW_MS, MAX_RECORD_VALIDITY_MS } from './limits.ts'

/** The domain member records are signed under; the envelope's payload type is `/muster/member-record`. */
export const RECORD_DOMAIN = 'member-record'

/** What a member says about itself, signed. A higher sequence number replaces a lower one; `left` is a goodbye. */
export interface MemberRecord {
  readonly topicId: TopicId
  readonly topicKey: Uint8Array
  readonly peerId: PeerId
  readonly sequence: number
  readonly issuedMs: number
  readonly expiresMs: number
  readonly addresses: readonly string[]
  readonly name: string | undefined
  readonly left: boolean
  /** The signed bytes, as they travel. */
  readonly envelope: Uint8Array
}

export type RejectReason = 'signature' | 'expired' | 'future' | 'malformed'

/** Why a record is not accepted; `reason` is what the metric counts. */
export class RejectedRecord extends MusterError {
  readonly reason: RejectReason

  constructor(reason: RejectReason, message: string, cause?: unknown) {
    super('protocol-violation', message, { cause })
    this.reason = reason
  }
}

export async function signRecord(
  node: Pick<Node, 'seal' | 'peerId'>,
  fields: Pick<MemberRecord, 'topicKey' | 'sequence' | 'issuedMs' | 'expiresMs' | 'addresses' | 'name' | 'left'>
): Promise<MemberRecord> {
  const { topicKey, sequence, issuedMs, expiresMs, addresses, name, left } = fields
  const payload = memberRecordCodec.encode({
    topic: topicKey,
    peerId: node.peerId,
    sequence,
    issuedMs,
    expiresMs,
    addresses: [...addresses],
    ...(name === undefined ? {} : { name }),
    ...(left ? { left } : {})
  })
  const envelope = await node.seal(RECORD_DOMAIN, payload)
  return { ...fields, topicId: topicIdOf(topicKey), peerId: node.peerId, envelope }
}

/**
 * Reads and judges a record: form, time, then signature; the signer must be the member it speaks of.
 * @throws RejectedRecord
 */
export async function openRecord(
  envelope: Uint8Array,
  unseal: Unseal,
  now: number,
  /** How long after its expiry a record is still accepted. */
  graceMs = MAX_CLOCK_SKEW_MS
): Promise<MemberRecord> {
  const { peerId, payload } = await unseal(RECORD_DOMAIN, envelope).catch(cause => {
    throw new RejectedRecord('signature', 'the signature of a member record does not hold', cause)
  })
  const record = parsed(payload, envelope)
  if (record.peerId !== peerId) throw new RejectedRecord('signature', 'a member record is signed by somebody else')
  if (record.issuedMs > now + MAX_CLOCK_SKEW_MS) throw new RejectedRecord('future', 'a member record from the future')
  if (record.expiresMs <= now - graceMs) throw new RejectedRecord('expired', 'an expired member record')
  return record
}

/**
 * What a record claims, before anything is proven: to see that it is old news without the cost of a signature.
 * @throws RejectedRecord `malformed`.
 */
export function peekRecord(envelope: Uint8Array): MemberRecord {
  try {
    return parsed(unprovenEnvelopeCodec.decode(envelope).payload, envelope)
  } catch (cause) {
    if (cause instanceof RejectedRecord) throw cause
    throw new RejectedRecord('malformed', 'a malformed envelope', cause)
  }
}

const unprovenEnvelopeCodec = codec({ payload: { id: 3, type: 'bytes', required: true } })

function parsed(payload: Uint8Array, envelope: Uint8Array): MemberRecord {
  try {
    const {
      topic,
      peerId,
      sequence,
      issuedMs,
      expiresMs,
      addresses,
      name,
      left = false
    } = memberRecordCodec.decode(payload)
    const validityMs = expiresMs - issuedMs
    if (validityMs <= 0 || validityMs > MAX_RECORD_VALIDITY_MS) throw new Error(`valid for ${validityMs} ms`)
    if (left && addresses.length > 0) throw new Error('a goodbye with addresses')
    return {
      topicId: topicIdOf(topic),
      topicKey: topic,
      peerId,
      sequence,
      issuedMs,
      expiresMs,
      addresses,
      name,
      left,
      envelope
    }
  } catch (cause) {
    throw new RejectedRecord('malformed', 'a malformed member record', cause)
  }
}
