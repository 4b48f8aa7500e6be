import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { concatBytes, equalBytes } from '../core/bytes.ts'
import { MusterError } from '../core/errors.ts'
import { MAX_PROOF_BYTES, type PubsubMessage, pubsubCodec } from '../wire/broadcast.ts'
import type { OpenProof } from './port.ts'

/** What gossipsub puts in front of the bytes it signs. */
const SIGNED_PREFIX = new TextEncoder().encode('libp2p-pubsub:')

/** The multihash of an Ed25519 peer id starts so: identity, 36 bytes, and the `PublicKey` protobuf, whose 32 bytes of key follow. */
const ED25519_ID_PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20)

/** True when `from` is the multihash of an Ed25519 peer id, which holds the key itself. */
export function isEd25519Id(from: Uint8Array): boolean {
  return from.length === 38 && equalBytes(from.subarray(0, ED25519_ID_PREFIX.length), ED25519_ID_PREFIX)
}

/** The proof of a gossip message. The key is in its author's id already; gossipsub repeats it, and so do we. */
export function encodeProof(message: Required<Pick<PubsubMessage, 'from' | 'data' | 'seqno' | 'topic' | 'signature'>>) {
  return pubsubCodec.encode({ ...message, key: message.from.subarray(2) })
}

/** Signs as gossipsub does; for the network in memory, and for tests that say what gossipsub would not. */
export async function signPubsub(
  privateKey: PrivateKey,
  message: Pick<PubsubMessage, 'data' | 'seqno' | 'topic'>
): Promise<Uint8Array> {
  const from = peerIdFromPublicKey(privateKey.publicKey as never).toMultihash().bytes
  const unsigned = { from, ...message }
  const signature = await privateKey.sign(signedBytes(unsigned))
  return encodeProof({ ...unsigned, signature })
}

/**
 * Opens a proof: size, form, key type, then the signature. Only the encoding that {@link encodeProof} makes is accepted,
 * so that nobody can pass the same signed message on as different bytes.
 */
export const openProof: OpenProof = async proof => {
  if (proof.length > MAX_PROOF_BYTES) throw violation(`a gossip message of ${proof.length} bytes`)
  const { from, data, seqno, topic, signature = EMPTY } = pubsubCodec.decode(proof)
  if (!isEd25519Id(from)) throw violation('a gossip message signed with another key type than Ed25519')
  if (seqno.length !== 8) throw violation('a gossip message without a sequence number')
  if (signature.length !== 64) throw violation('a gossip message without an Ed25519 signature')
  if (!equalBytes(encodeProof({ from, data, seqno, topic, signature }), proof)) {
    throw violation('a gossip message in another encoding than the canonical one')
  }
  const key = publicKeyFromRaw(from.subarray(ED25519_ID_PREFIX.length))
  const isSigned = await Promise.resolve()
    .then(() => key.verify(signedBytes({ from, data, seqno, topic }), signature))
    .catch(() => false) // a public key that is no point of the curve
  if (!isSigned) throw violation('a gossip message whose signature does not fit')
  return { author: peerIdFromPublicKey(key as never).toString(), topic, data }
}

const EMPTY = new Uint8Array(0)

function signedBytes(message: Pick<PubsubMessage, 'from' | 'data' | 'seqno' | 'topic'>): Uint8Array {
  return concatBytes([SIGNED_PREFIX, pubsubCodec.encode(message)])
}

function violation(what: string): MusterError {
  return new MusterError('protocol-violation', what)
}
