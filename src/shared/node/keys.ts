import {
  generateKeyPair,
  generateKeyPairFromSeed,
  privateKeyFromProtobuf,
  privateKeyToProtobuf,
  publicKeyFromRaw,
  publicKeyToProtobuf
} from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey, PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey, peerIdFromPublicKey } from '@libp2p/peer-id'
import type { PeerId } from '../core/address.ts'
import { concatBytes, equalBytes } from '../core/bytes.ts'
import { MusterError } from '../core/errors.ts'
import { codec } from '../wire/codec.ts'
import { MAX_ENVELOPE_BYTES } from '../wire/topic.ts'
import type { Unseal } from './port.ts'

/** Who a node is: an Ed25519 key pair and what is done with it. */
export interface Identity {
  readonly peerId: PeerId
  /** The private key as a libp2p `PrivateKey` protobuf: secret, 68 bytes, what an identity file holds. */
  readonly bytes: Uint8Array
  readonly privateKey: PrivateKey
  /**
   * Signs `payload` as a libp2p signed envelope (RFC 0002) under `domain`, with payload type `/muster/<domain>`.
   * @throws MusterError `too-large` when the envelope would exceed `maxBytes`, {@link MAX_ENVELOPE_BYTES} by default.
   */
  seal(domain: string, payload: Uint8Array, maxBytes?: number): Promise<Uint8Array>
}

/** A new identity; the same one for the same `seed` of 32 bytes, which only tests and simulations should give. */
export async function createIdentity(seed?: Uint8Array): Promise<Identity> {
  return identityOf(
    seed === undefined ? await generateKeyPair('Ed25519') : await generateKeyPairFromSeed('Ed25519', seed)
  )
}

/**
 * The identity kept in `bytes`.
 * @throws MusterError `identity-corrupt` when they are not an Ed25519 private key whose two halves fit.
 */
export function identityFrom(bytes: Uint8Array): Identity {
  let privateKey: PrivateKey
  try {
    privateKey = privateKeyFromProtobuf(bytes)
  } catch (cause) {
    throw new MusterError('identity-corrupt', 'the identity is not a private key', { cause })
  }
  if (privateKey.type !== 'Ed25519') {
    throw new MusterError('identity-corrupt', `the identity is a key of type ${privateKey.type}; only Ed25519 is used`)
  }
  if (!halvesFit(privateKey)) throw new MusterError('identity-corrupt', 'the halves of the private key do not fit')
  return identityOf(privateKey)
}

/** The stored public half is taken on trust by libp2p; a damaged one would be found out only by others. */
function halvesFit(privateKey: Ed25519PrivateKey): boolean {
  const probe = new Uint8Array(1)
  try {
    const signature = privateKey.sign(probe)
    if (!(signature instanceof Uint8Array)) return true // a browser signs later, and keeps its keys in no file
    return privateKey.publicKey.verify(probe, signature) !== false
  } catch {
    return false
  }
}

function identityOf(privateKey: Ed25519PrivateKey): Identity {
  const publicKey = publicKeyToProtobuf(privateKey.publicKey)
  return {
    peerId: peerIdFromPrivateKey(privateKey).toString(),
    bytes: privateKeyToProtobuf(privateKey),
    privateKey,
    async seal(domain, payload, maxBytes = MAX_ENVELOPE_BYTES) {
      const payloadType = payloadTypeOf(domain)
      const signature = await privateKey.sign(signedBytes(domain, payloadType, payload))
      const envelope = encodeEnvelope({ publicKey, payloadType, payload, signature })
      if (envelope.length > maxBytes) {
        throw new MusterError('too-large', `the envelope takes ${envelope.length} bytes; at most ${maxBytes}`)
      }
      return envelope
    }
  }
}

/**
 * Opens a signed envelope. Judged in order of cost: size, form, key type, domain, signature. Only the one encoding
 * that `seal` makes is accepted, so that nobody can pass the same signed payload on as different bytes.
 */
export const unseal: Unseal = async (domain, bytes, maxBytes = MAX_ENVELOPE_BYTES) => {
  if (bytes.length > maxBytes) throw violation(`an envelope of ${bytes.length} bytes`)
  const { publicKey, payloadType, payload = EMPTY, signature } = envelopeCodec.decode(bytes)
  if (!equalBytes(publicKey.subarray(0, ED25519_PREFIX.length), ED25519_PREFIX) || publicKey.length !== 36) {
    throw violation('an envelope signed with another key type than Ed25519')
  }
  if (signature.length !== 64) throw violation('an envelope without an Ed25519 signature')
  if (!equalBytes(payloadType, payloadTypeOf(domain))) throw violation('an envelope of another payload type')
  if (!equalBytes(encodeEnvelope({ publicKey, payloadType, payload, signature }), bytes)) {
    throw violation('an envelope in another encoding than the canonical one')
  }
  const key = publicKeyFromRaw(publicKey.subarray(ED25519_PREFIX.length))
  if (key.type !== 'Ed25519' || !(await verifies(key, signedBytes(domain, payloadType, payload), signature))) {
    throw violation('an envelope whose signature does not fit')
  }
  return { peerId: peerIdFromPublicKey(key).toString(), payload }
}

const EMPTY = new Uint8Array(0)

/** A libp2p `PublicKey` protobuf of type Ed25519 (1) starts so; the 32 bytes of the key follow. */
const ED25519_PREFIX = Uint8Array.of(0x08, 0x01, 0x12, 0x20)

// RFC 0002; field 4 was given up before the format was settled.
const envelopeCodec = codec({
  publicKey: { id: 1, type: 'bytes', required: true },
  payloadType: { id: 2, type: 'bytes', required: true },
  payload: { id: 3, type: 'bytes' },
  signature: { id: 5, type: 'bytes', required: true }
})

interface Envelope {
  readonly publicKey: Uint8Array
  readonly payloadType: Uint8Array
  readonly payload: Uint8Array
  readonly signature: Uint8Array
}

function encodeEnvelope({ payload, ...rest }: Envelope): Uint8Array {
  return envelopeCodec.encode(payload.length === 0 ? rest : { ...rest, payload }) // proto3 leaves empty bytes out
}

function payloadTypeOf(domain: string): Uint8Array {
  return new TextEncoder().encode(`/muster/${domain}`)
}

/** What is signed: domain, payload type and payload, each with its length as a varint in front. */
function signedBytes(domain: string, payloadType: Uint8Array, payload: Uint8Array): Uint8Array {
  const parts = [new TextEncoder().encode(domain), payloadType, payload].flatMap(part => [varint(part.length), part])
  return concatBytes(parts)
}

function varint(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = value
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80)
  bytes.push(rest)
  return Uint8Array.from(bytes)
}

async function verifies(
  key: { verify(data: Uint8Array, signature: Uint8Array): boolean | Promise<boolean> },
  data: Uint8Array,
  signature: Uint8Array
): Promise<boolean> {
  try {
    return await key.verify(data, signature)
  } catch {
    return false // a public key that is no point of the curve
  }
}

function violation(what: string): MusterError {
  return new MusterError('protocol-violation', what)
}
