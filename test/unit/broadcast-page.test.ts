import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as acks from '../../src/peer/broadcasts/limits.ts'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import * as judge from '../../src/shared/gossip/limits.ts'
import { openBroadcast } from '../../src/shared/gossip/open.ts'
import { createIdentity, unseal } from '../../src/shared/node/keys.ts'
import { openProof, signPubsub } from '../../src/shared/node/pubsub.ts'
import { openRecord, signRecord } from '../../src/shared/roster/record.ts'
import * as wire from '../../src/shared/wire/broadcast.ts'
import {
  ackCodec,
  BROADCAST_PROTOCOL,
  broadcastCodec,
  gossipTopic,
  pubsubCodec
} from '../../src/shared/wire/broadcast.ts'
import { encodeFrames } from '../../src/shared/wire/frames.ts'
import { VALUE_KIND } from '../../src/shared/wire/message.ts'
import { forged } from '../support/gossip-attacker.ts'
import { readPage } from '../support/page.ts'

const page = readPage('docs/protocols/broadcast.md')
const lobby = await topicOf('lobby')
const attic = await topicOf('attic')
const ana = await createIdentity(new Uint8Array(32).fill(7))
const ben = await createIdentity(new Uint8Array(32).fill(8))
const SENT_MS = 1_700_000_000_000
const text = (letters: string): Uint8Array => new TextEncoder().encode(letters)
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

const record = async (of = ana, topic = lobby, left = false): Promise<Uint8Array> => {
  const { envelope } = await signRecord(of, {
    topicKey: topic.key,
    sequence: SENT_MS,
    issuedMs: SENT_MS,
    expiresMs: SENT_MS + 1_800_000,
    addresses: [],
    name: 'ana',
    left
  })
  return envelope
}
const said = { sequence: SENT_MS, sentMs: SENT_MS, kind: VALUE_KIND.json, body: text('"hello"') }
const data = broadcastCodec.encode({ ...said, envelope: text('record') })
const seqno = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1)
const topicName = gossipTopic('muster', lobby.id)
const signed = async (part: object, topic = topicName): Promise<Uint8Array> => {
  const body = broadcastCodec.encode({ ...said, envelope: await record(), ...part })
  return await signPubsub(ana.privateKey, { data: body, seqno, topic })
}

const vectors: Record<string, Uint8Array> = {
  'Broadcast, JSON `"hello"`': data,
  'the same, acknowledged': broadcastCodec.encode({ ...said, envelope: text('record'), wantsAck: true }),
  'Broadcast, bytes 00 01 ff': broadcastCodec.encode({
    ...said,
    kind: VALUE_KIND.bytes,
    body: Uint8Array.of(0, 1, 255),
    envelope: text('record')
  }),
  'Broadcast, no bytes': broadcastCodec.encode({
    ...said,
    kind: VALUE_KIND.bytes,
    body: new Uint8Array(0),
    envelope: text('record')
  }),
  'PubsubMessage with the first': await signPubsub(ana.privateKey, { data, seqno, topic: topicName }),
  'Ack, with its length': encodeFrames([ackCodec.encode({ topic: lobby.key, sequence: SENT_MS })])
}

const openers = { openProof, openRecord: (envelope: Uint8Array, atMs: number) => openRecord(envelope, unseal, atMs) }
const open = async (proof: Uint8Array, topicId = lobby.id) => await openBroadcast(proof, topicId, 'muster', openers)

describe('the page of broadcasts', () => {
  it('has the vectors of this test and no others', () => {
    const written = page.section('Test vectors').table()
    assert.deepEqual(
      written.map(([name = '', bytes = '']) => [name, bytes]),
      Object.entries(vectors).map(([name, bytes]) => [name, hex(bytes)])
    )
    assert.ok(page.text.includes(lobby.id) && page.text.includes(ana.peerId))
    for (const [name = '', bytes = ''] of written.filter(([each = '']) => each.startsWith('Broadcast'))) {
      const read = broadcastCodec.decode(Uint8Array.from(Buffer.from(bytes, 'hex')))
      assert.equal(hex(broadcastCodec.encode(read)), bytes, name)
      assert.equal(read.sequence, SENT_MS)
    }
  })

  it('has the limits of the code, by name and number', () => {
    const inCode = Object.entries({ ...wire, ...judge, ...acks }).filter(
      (entry): entry is [string, number] => typeof entry[1] === 'number'
    )
    assert.deepEqual(page.section('Limits').numbers(), Object.fromEntries(inCode))
  })

  it('names the protocol and the topic', () => {
    assert.ok(page.text.includes(`/muster/<network>/${BROADCAST_PROTOCOL}`))
    assert.ok(page.text.includes(gossipTopic('<network>', '<topic key>')))
  })
})

describe('a broadcast is opened from its proof', () => {
  it('with everything its author said', async () => {
    const proof = await signed({ wantsAck: true })
    const { sender, ...opened } = await open(proof)
    assert.deepEqual(
      { ...opened, body: hex(opened.body) },
      {
        ...said,
        body: hex(said.body),
        topicId: lobby.id,
        author: ana.peerId,
        envelope: await record(),
        proof,
        wantsAck: true
      }
    )
    assert.deepEqual(sender, { name: 'ana', addresses: [] })
  })

  it('years later as well: the record counted when it spoke', async () => {
    await open(await signed({ sentMs: SENT_MS + 1_799_999 }))
  })

  const wrong: Record<string, () => Promise<unknown>> = {
    'a signature that does not fit': async () => await open(forged(await signed({}))),
    'another topic than asked for': async () => await open(await signed({}), attic.id),
    'another network': async () => await open(await signed({}, gossipTopic('other', lobby.id))),
    'the record of somebody else': async () => await open(await signed({ envelope: await record(ben) })),
    'a record of another topic': async () => await open(await signed({ envelope: await record(ana, attic) })),
    'a goodbye for a record': async () => await open(await signed({ envelope: await record(ana, lobby, true) })),
    'a record that had expired': async () => await open(await signed({ sentMs: SENT_MS + 4_000_000 })),
    'a record of later': async () => await open(await signed({ sentMs: SENT_MS - 4_000_000 })),
    'no record': async () => await open(await signed({ envelope: new Uint8Array(0) })),
    'a body that is too long': async () =>
      await open(await signed({ body: new Uint8Array(wire.MAX_BROADCAST_BYTES + 1) })),
    'no protobuf': async () => await open(Uint8Array.of(1, 2, 3)),
    'bytes behind': async () => await open(Uint8Array.of(...(await signed({})), 0x38, 1)),
    'another key than its author’s': async () => {
      const { key: _, ...message } = pubsubCodec.decode(await signed({}))
      await open(pubsubCodec.encode({ ...message, key: new Uint8Array(36) }))
    },
    'no key': async () => {
      const { key: _, ...message } = pubsubCodec.decode(await signed({}))
      await open(pubsubCodec.encode(message))
    },
    'an author with another kind of key': async () => {
      const message = pubsubCodec.decode(await signed({}))
      await open(pubsubCodec.encode({ ...message, from: message.from.with(3, 2) }))
    }
  }
  for (const [what, attempt] of Object.entries(wrong)) {
    it(`not with ${what}`, async () => {
      await assert.rejects(attempt, thrown => isMusterError(thrown, 'protocol-violation'))
    })
  }
})
