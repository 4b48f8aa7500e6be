import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { topicOf } from '../../src/shared/core/topic.ts'
import { createIdentity, type Identity, unseal } from '../../src/shared/node/keys.ts'
import { MAX_CLOCK_SKEW_MS, MAX_RECORD_VALIDITY_MS } from '../../src/shared/roster/limits.ts'
import {
  openRecord,
  peekRecord,
  RECORD_DOMAIN,
  RejectedRecord,
  type RejectReason,
  signRecord
} from '../../src/shared/roster/record.ts'
import { type MemberRecordMessage, memberRecordCodec } from '../../src/shared/wire/topic.ts'

const NOW = 1_700_000_000_000
const { key, id } = await topicOf('lobby')
const ana = await createIdentity()
const bob = await createIdentity()

const fields: MemberRecordMessage = {
  topic: key,
  peerId: ana.peerId,
  sequence: 7,
  issuedMs: NOW,
  expiresMs: NOW + 60_000,
  addresses: ['/ip4/127.0.0.1/tcp/1'],
  name: 'ana'
}

async function sealed(
  change: Partial<MemberRecordMessage> = {},
  by: Identity = ana,
  domain = RECORD_DOMAIN
): Promise<Uint8Array> {
  return await by.seal(domain, memberRecordCodec.encode({ ...fields, ...change }))
}

async function isRejected(envelope: Uint8Array, reason: RejectReason): Promise<void> {
  await assert.rejects(openRecord(envelope, unseal, NOW), error => {
    assert.ok(error instanceof RejectedRecord)
    assert.equal(error.code, 'protocol-violation')
    assert.equal(error.reason, reason)
    return true
  })
}

describe('a member record', () => {
  it('is read as it was signed', async () => {
    const asked = {
      topicKey: key,
      sequence: 7,
      issuedMs: NOW,
      expiresMs: NOW + 1,
      addresses: ['/ip4/1.2.3.4/tcp/5'],
      name: undefined,
      left: false
    }
    const signed = await signRecord(ana, asked)
    assert.deepEqual(await openRecord(signed.envelope, unseal, NOW), signed)
    assert.deepEqual(peekRecord(signed.envelope), signed)
    assert.equal(signed.topicId, id)
  })

  const rejections: Array<[string, RejectReason, () => Promise<Uint8Array>]> = [
    ['signed by somebody else', 'signature', () => sealed({}, bob)],
    ['signed for another purpose', 'signature', () => sealed({}, ana, 'other')],
    [
      'with a changed bit',
      'signature',
      async () => {
        const envelope = await sealed()
        envelope[envelope.length - 1] = (envelope.at(-1) ?? 0) ^ 1
        return envelope
      }
    ],
    ['that is no envelope', 'signature', async () => Uint8Array.of(1, 2, 3)],
    [
      'issued too far in the future',
      'future',
      () => sealed({ issuedMs: NOW + MAX_CLOCK_SKEW_MS + 1, expiresMs: NOW + MAX_CLOCK_SKEW_MS + 2 })
    ],
    [
      'that expired longer ago than clocks may differ',
      'expired',
      () => sealed({ issuedMs: NOW - MAX_CLOCK_SKEW_MS - 1, expiresMs: NOW - MAX_CLOCK_SKEW_MS })
    ],
    ['that expires before it is issued', 'malformed', () => sealed({ expiresMs: NOW })],
    ['that is valid for too long', 'malformed', () => sealed({ expiresMs: NOW + MAX_RECORD_VALIDITY_MS + 1 })],
    ['that says goodbye and has addresses', 'malformed', () => sealed({ left: true })],
    ['of no topic', 'malformed', () => sealed({ topic: Uint8Array.of(1) })],
    ['that is no record', 'malformed', () => ana.seal(RECORD_DOMAIN, Uint8Array.of(255))]
  ]
  for (const [what, reason, make] of rejections) {
    it(`${what} is refused: ${reason}`, async () => await isRejected(await make(), reason))
  }

  it('is accepted within the difference clocks may have', async () => {
    await openRecord(
      await sealed({ issuedMs: NOW + MAX_CLOCK_SKEW_MS, expiresMs: NOW + MAX_CLOCK_SKEW_MS + 1 }),
      unseal,
      NOW
    )
    await openRecord(
      await sealed({ issuedMs: NOW - MAX_CLOCK_SKEW_MS, expiresMs: NOW - MAX_CLOCK_SKEW_MS + 1 }),
      unseal,
      NOW
    )
  })
})
