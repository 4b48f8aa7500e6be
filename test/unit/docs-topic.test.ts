import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ERROR_CODES } from '../../src/shared/core/errors.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import { createIdentity, unseal } from '../../src/shared/node/keys.ts'
import * as rosterLimits from '../../src/shared/roster/limits.ts'
import { openRecord, peekRecord, signRecord } from '../../src/shared/roster/record.ts'
import { encodeFrames } from '../../src/shared/wire/frames.ts'
import * as wire from '../../src/shared/wire/topic.ts'
import { type TopicFrame, topicFrameCodec } from '../../src/shared/wire/topic.ts'
import { readPage } from '../support/page.ts'

const page = readPage('docs/protocols/topic.md')
const identity = await createIdentity(new Uint8Array(32).fill(1))
const { key: topic } = await topicOf('lobby')
const issuedMs = 1_700_000_000_000
const common = { topicKey: topic, issuedMs, expiresMs: issuedMs + 30 * 60_000 }
const address = '/ip4/192.0.2.1/tcp/4001'
const record = await signRecord(identity, {
  ...common,
  sequence: issuedMs,
  addresses: [address],
  name: 'ana',
  left: false
})
const goodbye = await signRecord(identity, {
  ...common,
  sequence: issuedMs + 1,
  addresses: [],
  name: undefined,
  left: true
})
const { envelope } = record

const frames: Record<string, TopicFrame> = {
  HELLO: { hello: { topic, envelope } },
  'HELLO of one who watches': { hello: { topic } },
  'MEMBERS, one of one, live': { members: { topic, entries: [{ envelope, isLive: true }], total: 1 } },
  'MEMBERS, nobody': { members: { topic, entries: [], total: 0 } },
  'UPDATE, goodbye': { update: { topic, envelope: goodbye.envelope } },
  LOST: { lost: { topic, peerId: identity.peerId } },
  'REFUSAL, not-a-member': { refusal: { topic, code: 'not-a-member' } },
  UNWATCH: { unwatch: { topic } }
}
const vectors: Record<string, Uint8Array> = {
  'member record': envelope,
  goodbye: goodbye.envelope,
  ...Object.fromEntries(
    Object.entries(frames).map(([name, frame]) => [name, encodeFrames([topicFrameCodec.encode(frame)])])
  )
}
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('the page of the topic protocol', () => {
  it('has the vectors of this test and no others', () => {
    const written = page.section('Test vectors').table()
    assert.deepEqual(
      written,
      Object.entries(vectors).map(([name, bytes]) => [name, hexOf(bytes)])
    )
    assert.ok(page.text.includes(identity.peerId))
  })

  it('has vectors that a node accepts', async () => {
    const opened = await openRecord(envelope, unseal, issuedMs)
    assert.deepEqual(
      [opened.peerId, opened.name, opened.addresses, opened.left],
      [identity.peerId, 'ana', [address], false]
    )
    assert.equal((await openRecord(goodbye.envelope, unseal, issuedMs)).left, true)
    assert.equal(peekRecord(envelope).sequence, issuedMs)
    for (const frame of Object.values(frames))
      assert.deepEqual(plain(topicFrameCodec.decode(topicFrameCodec.encode(frame))), plain(frame))
  })

  it('says what is signed', async () => {
    const [signed = ''] = page.section('Member records').blocks('')
    const [domain = '', payloadType = ''] = [...signed.matchAll(/"([^"]+)"/g)].map(([, text = '']) => text)
    const lengths = [...signed.matchAll(/varint\((\d+)\)/g)].map(([, length]) => Number(length))
    assert.deepEqual(lengths, [domain.length, payloadType.length])
    const payload = Uint8Array.of(1, 2, 3)
    const sealed = await identity.seal(domain, payload)
    const parts = [domain, payloadType].flatMap(text => [text.length, ...new TextEncoder().encode(text)])
    const bytes = Uint8Array.from([...parts, payload.length, ...payload])
    assert.equal(await identity.privateKey.publicKey.verify(bytes, sealed.subarray(-64)), true)
  })

  it('has topic keys that are right', async () => {
    const keys = page.section('Topic keys').table()
    assert.equal(keys.length, 5)
    for (const [name = '', id] of keys) assert.equal((await topicOf(name)).id, id)
  })

  it('has limits of the code, by name and number', () => {
    const inCode: Record<string, unknown> = { ...wire, ...rosterLimits }
    for (const [name = '', value = ''] of page.section('Limits').table()) {
      assert.equal(inCode[name]?.toLocaleString(), /^[\d,]+/.exec(value)?.[0], name)
    }
    for (const name of Object.keys(wire).filter(each => each.startsWith('MAX_')))
      assert.ok(page.text.includes(`\`${name}\``), name)
  })

  it('names the protocol, every kind of frame, and codes that exist', () => {
    assert.ok(page.text.includes(`/muster/<network>/${wire.TOPIC_PROTOCOL}`))
    const kinds = page
      .section('Bytes')
      .table()
      .map(([field = '']) => /`(\w+)`/.exec(field)?.[1])
    assert.deepEqual(new Set(Object.values(frames).flatMap(Object.keys)), new Set(kinds))
    for (const [code = ''] of page.section('Errors').table()) assert.ok(code in ERROR_CODES, code)
  })
})

/** Byte strings as hex: a Buffer and a Uint8Array of the same bytes are equal. */
function plain(frame: TopicFrame): unknown {
  return JSON.parse(JSON.stringify(frame, (_key, part) => (part instanceof Uint8Array ? hexOf(part) : part)))
}
