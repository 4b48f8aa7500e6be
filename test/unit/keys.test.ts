import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { RecordEnvelope } from '@libp2p/peer-record'
import { type ErrorCode, isMusterError } from '../../src/shared/core/errors.ts'
import { createIdentity, identityFrom, unseal } from '../../src/shared/node/keys.ts'
import { codec } from '../../src/shared/wire/codec.ts'
import { MAX_ENVELOPE_BYTES } from '../../src/shared/wire/topic.ts'

const PAYLOAD = new TextEncoder().encode('a payload')

describe('identity', () => {
  it('comes back from its bytes', async () => {
    const identity = await createIdentity()
    assert.match(identity.peerId, /^12D3Koo/)
    assert.equal(identity.bytes.length, 68)
    assert.equal(identityFrom(identity.bytes).peerId, identity.peerId)
    assert.notEqual((await createIdentity()).peerId, identity.peerId)
  })

  it('is the same for the same seed', async () => {
    const { peerId } = await createIdentity(new Uint8Array(32))
    assert.equal(peerId, '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN')
  })

  it('is refused when a byte of it is damaged, or it is no Ed25519 key', async () => {
    const { bytes } = await createIdentity()
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.slice()
      damaged[at] = (damaged[at] ?? 0) ^ 0x10
      throwsWith('identity-corrupt', () => identityFrom(damaged))
    }
    for (let length = 0; length < bytes.length; length += 7) {
      throwsWith('identity-corrupt', () => identityFrom(bytes.subarray(0, length)))
    }
    const other = privateKeyToProtobuf(await generateKeyPair('secp256k1'))
    throwsWith('identity-corrupt', () => identityFrom(other))
  })
})

describe('signed envelope', () => {
  it('is opened to who signed it and what', async () => {
    const identity = await createIdentity()
    for (const payload of [PAYLOAD, new Uint8Array(0), new Uint8Array(3_900)]) {
      assert.deepEqual(await unseal('member', await identity.seal('member', payload)), {
        peerId: identity.peerId,
        payload
      })
    }
  })

  it('is what libp2p makes and opens (RFC 0002)', async () => {
    const identity = await createIdentity(new Uint8Array(32).fill(7))
    const ours = await identity.seal('member', PAYLOAD)
    const opened = await RecordEnvelope.openAndCertify(ours, 'member')
    assert.deepEqual(opened.payload.subarray(), PAYLOAD)
    const record = {
      domain: 'member',
      codec: new TextEncoder().encode('/muster/member'),
      marshal: () => PAYLOAD,
      equals: () => false
    }
    const theirs = (await RecordEnvelope.seal(record, identity.privateKey)).marshal()
    assert.deepEqual(theirs, ours)
    assert.deepEqual((await unseal('member', theirs)).peerId, identity.peerId)
  })

  it('is refused when any bit of it was changed, or any of it is missing', async () => {
    const envelope = await (await createIdentity()).seal('member', PAYLOAD)
    for (let bit = 0; bit < envelope.length * 8; bit++) {
      const tampered = envelope.slice()
      const at = bit >> 3
      tampered[at] = (tampered[at] ?? 0) ^ (1 << (bit & 7))
      await refused(unseal('member', tampered))
    }
    for (let length = 0; length < envelope.length; length++)
      await refused(unseal('member', envelope.subarray(0, length)))
    await refused(unseal('member', Uint8Array.of(...envelope, 0x30, 0x01))) // an unknown field behind it
  })

  it('is refused under another domain, even with the payload type of that domain', async () => {
    const identity = await createIdentity()
    await refused(unseal('record', await identity.seal('member', PAYLOAD)))
    const crossed = await RecordEnvelope.seal(
      {
        domain: 'member',
        codec: new TextEncoder().encode('/muster/record'),
        marshal: () => PAYLOAD,
        equals: () => false
      },
      identity.privateKey
    )
    await refused(unseal('record', crossed.marshal()))
    await refused(unseal('member', crossed.marshal()))
  })

  it('is refused with another signature, key or payload put into it', async () => {
    const [ana, eve] = [await createIdentity(), await createIdentity()]
    const [a, e] = [parts(await ana.seal('member', PAYLOAD)), parts(await eve.seal('member', new Uint8Array(9)))]
    for (const field of ['publicKey', 'payload', 'signature'] as const) {
      await refused(unseal('member', envelopeCodec.encode({ ...a, [field]: e[field] })))
    }
    assert.equal((await unseal('member', envelopeCodec.encode(a))).peerId, ana.peerId)
  })

  it('is refused with any other key type, before its signature is looked at', async () => {
    const identity = await createIdentity()
    const envelope = await RecordEnvelope.seal(
      {
        domain: 'member',
        codec: new TextEncoder().encode('/muster/member'),
        marshal: () => PAYLOAD,
        equals: () => false
      },
      await generateKeyPair('secp256k1')
    )
    await assert.rejects(unseal('member', envelope.marshal()), /another key type/)
    const nonPoint = { ...parts(await identity.seal('member', PAYLOAD)) }
    await refused(
      unseal(
        'member',
        envelopeCodec.encode({ ...nonPoint, publicKey: Uint8Array.of(8, 1, 18, 32, ...new Uint8Array(32).fill(0xff)) })
      )
    )
  })

  it('has a largest size, both ways', async () => {
    const identity = await createIdentity()
    await rejectsWith('too-large', identity.seal('member', new Uint8Array(MAX_ENVELOPE_BYTES)))
    await assert.rejects(unseal('member', new Uint8Array(MAX_ENVELOPE_BYTES + 1)), /an envelope of 4097 bytes/)
  })
})

const envelopeCodec = codec({
  publicKey: { id: 1, type: 'bytes', required: true },
  payloadType: { id: 2, type: 'bytes', required: true },
  payload: { id: 3, type: 'bytes', required: true },
  signature: { id: 5, type: 'bytes', required: true }
})

function parts(envelope: Uint8Array) {
  return envelopeCodec.decode(envelope)
}

async function refused(opening: Promise<unknown>): Promise<void> {
  await rejectsWith('protocol-violation', opening)
}

async function rejectsWith(code: ErrorCode, promise: Promise<unknown>): Promise<void> {
  await assert.rejects(promise, error => isMusterError(error, code))
}

function throwsWith(code: ErrorCode, run: () => unknown): void {
  assert.throws(run, error => isMusterError(error, code))
}
