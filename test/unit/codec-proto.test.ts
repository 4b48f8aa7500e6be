import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import protobuf from 'protobufjs'
import { ackCodec, broadcastCodec, pubsubCodec } from '../../src/shared/wire/broadcast.ts'
import type { Codec } from '../../src/shared/wire/codec.ts'
import { historyFrameCodec } from '../../src/shared/wire/history.ts'
import { decodeMessageFrame, encodeMessageFrame, messageFrameCodec } from '../../src/shared/wire/message.ts'
import { recordCodec, recordFrameCodec } from '../../src/shared/wire/record.ts'
import { streamFrameCodec } from '../../src/shared/wire/stream.ts'
import { MAX_MEMBERS_PER_ANSWER, memberRecordCodec, topicFrameCodec } from '../../src/shared/wire/topic.ts'

const topicKey = fc.uint8Array({ minLength: 36, maxLength: 36 })
const envelope = fc.uint8Array({ maxLength: 200 })
const text = (maxBytes: number): fc.Arbitrary<string> => fc.string({ unit: 'grapheme-ascii', maxLength: maxBytes })
const count = fc.integer({ min: 0, max: 0xffff_ffff })

/** A record of which `required` are always there, and the rest now and then. */
function message<T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }, required: Array<keyof T>): fc.Arbitrary<unknown> {
  return fc.record(fields, { requiredKeys: required, noNullPrototype: true })
}

const memberRecord = message(
  {
    topic: topicKey,
    peerId: text(128),
    sequence: fc.maxSafeNat(),
    issuedMs: fc.maxSafeNat(),
    expiresMs: fc.maxSafeNat(),
    addresses: fc.array(text(128), { maxLength: 16 }),
    name: text(64),
    left: fc.boolean()
  },
  ['topic', 'peerId', 'sequence', 'issuedMs', 'expiresMs', 'addresses']
)

const entry = message({ envelope, isLive: fc.boolean() }, ['envelope'])
const topicFrame = fc.oneof(
  fc.record({ hello: message({ topic: topicKey, envelope }, ['topic']) }),
  fc.record({
    members: message(
      { topic: topicKey, entries: fc.array(entry, { maxLength: MAX_MEMBERS_PER_ANSWER }), total: count },
      ['topic', 'entries']
    )
  }),
  fc.record({ update: message({ topic: topicKey, envelope }, ['topic', 'envelope']) }),
  fc.record({ lost: message({ topic: topicKey, peerId: text(128) }, ['topic', 'peerId']) }),
  fc.record({ refusal: message({ topic: topicKey, code: text(32) }, ['topic', 'code']) }),
  fc.record({ unwatch: message({ topic: topicKey }, ['topic']) })
)

const id = fc.maxSafeNat()
const messageFrame = fc.oneof(
  fc.record({
    open: message(
      { topic: topicKey, envelope, session: fc.maxSafeNat(), encodings: count, maxBytes: fc.maxSafeNat() },
      ['topic', 'envelope', 'session', 'maxBytes']
    )
  }),
  fc.record({ welcome: message({ encodings: count, maxBytes: fc.maxSafeNat() }, ['maxBytes']) }),
  fc.record({
    message: message(
      {
        id,
        kind: count,
        body: envelope,
        replyTo: id,
        wantsReply: fc.boolean(),
        size: fc.maxSafeNat(),
        encoding: count,
        rawSize: fc.maxSafeNat(),
        mayRepeat: fc.boolean()
      },
      ['id', 'kind', 'body']
    )
  }),
  fc.record({ part: message({ id, body: envelope }, ['id', 'body']) }),
  fc.record({ receipt: message({ id, since: id }, ['id']) }),
  fc.record({ refusal: message({ id, code: text(32) }, ['code']) }),
  fc.record({ cancel: message({ id }, ['id']) })
)

const nothing = fc.constant({})
const streamFrame = fc.oneof(
  fc.record({
    open: message({ topic: topicKey, envelope, name: text(64) }, ['topic', 'envelope', 'name'])
  }),
  fc.record({ accept: nothing }),
  fc.record({ refusal: message({ code: text(32) }, ['code']) }),
  fc.record({ data: fc.uint8Array({ maxLength: 300 }) }),
  fc.record({ end: nothing }),
  fc.record({ done: nothing })
)

const historyFrame = fc.oneof(
  fc.record({ ask: message({ topic: topicKey, envelope, limit: count }, ['topic', 'envelope', 'limit']) }),
  fc.record({ entry: message({ proof: envelope }, ['proof']) }),
  fc.record({ end: fc.constant({}) }),
  fc.record({ refusal: message({ code: text(32) }, ['code']) })
)

const broadcast = message(
  {
    sequence: fc.maxSafeNat(),
    sentMs: fc.maxSafeNat(),
    kind: count,
    body: envelope,
    envelope,
    wantsAck: fc.boolean()
  },
  ['sequence', 'sentMs', 'kind', 'body', 'envelope']
)
const ack = message({ topic: topicKey, sequence: fc.maxSafeNat() }, ['topic', 'sequence'])
const pubsub = message(
  {
    from: fc.uint8Array({ maxLength: 38 }),
    data: envelope,
    seqno: fc.uint8Array({ maxLength: 8 }),
    topic: text(128),
    signature: fc.uint8Array({ maxLength: 64 }),
    key: fc.uint8Array({ maxLength: 36 })
  },
  ['from', 'data', 'seqno', 'topic']
)

const place = fc.uint8Array({ maxLength: 32 })
const count64 = fc.maxSafeNat()
const record = message(
  {
    kind: count,
    key: fc.uint8Array({ maxLength: 256 }),
    sequence: count64,
    issuedMs: count64,
    expiresMs: count64,
    valueKind: count,
    value: envelope
  },
  ['kind', 'key', 'sequence', 'issuedMs', 'expiresMs']
)
const closer = fc.array(
  message({ peerId: text(64), addresses: fc.array(text(128), { maxLength: 8 }) }, ['peerId', 'addresses']),
  { maxLength: 20 }
)
const offer = message({ place, sequence: count64, issuedMs: count64, expiresMs: count64, digest: place }, [
  'place',
  'sequence',
  'issuedMs',
  'expiresMs',
  'digest'
])
const recordFrame = fc.oneof(
  fc.record({ find: message({ id: count, place, watch: fc.boolean() }, ['id', 'place']) }),
  fc.record({ store: message({ id: count, envelope, wantsCloser: fc.boolean() }, ['id', 'envelope']) }),
  fc.record({ offers: message({ id: count, records: fc.array(offer, { maxLength: 256 }) }, ['id', 'records']) }),
  fc.record({ found: message({ id: count, envelope, closer }, ['id', 'closer']) }),
  fc.record({ stored: message({ id: count, refusal: text(32), newer: envelope, closer }, ['id', 'closer']) }),
  fc.record({ wanted: message({ id: count, places: fc.array(place, { maxLength: 256 }) }, ['id', 'places']) }),
  fc.record({ changed: message({ envelope }, ['envelope']) }),
  fc.record({ refusal: message({ id: count, code: text(32) }, ['id', 'code']) })
)

describe('the .proto files say the same as the code', () => {
  agree('a member record', 'topic.proto', 'muster.topic.v1.MemberRecord', memberRecordCodec, memberRecord)
  agree('a topic frame', 'topic.proto', 'muster.topic.v1.TopicFrame', topicFrameCodec, topicFrame)
  agree('a message frame', 'message.proto', 'muster.message.v2.MessageFrame', messageFrameCodec, messageFrame)
  agree('a stream frame', 'stream.proto', 'muster.stream.v1.StreamFrame', streamFrameCodec, streamFrame)
  agree('a history frame', 'history.proto', 'muster.history.v1.HistoryFrame', historyFrameCodec, historyFrame)
  agree('a record', 'records.proto', 'muster.records.v1.Record', recordCodec, record)
  agree('a record frame', 'records.proto', 'muster.records.v1.RecordFrame', recordFrameCodec, recordFrame)
  agree('a broadcast', 'broadcast.proto', 'muster.broadcast.v1.Broadcast', broadcastCodec, broadcast)
  agree('an acknowledgement', 'broadcast.proto', 'muster.broadcast.v1.Ack', ackCodec, ack)
  agree('a pubsub message', 'broadcast.proto', 'muster.broadcast.v1.PubsubMessage', pubsubCodec, pubsub)
})

function agree<T>(what: string, file: string, typeName: string, ours: Codec<T>, values: fc.Arbitrary<unknown>): void {
  it(`${what}: protobufjs reads and writes the same bytes`, async () => {
    const path = fileURLToPath(new URL(`../../docs/protocols/${file}`, import.meta.url))
    const theirs = (await new protobuf.Root().load(path)).lookupType(typeName)
    fc.assert(
      fc.property(values, value => {
        const bytes = ours.encode(value as T)
        const read = theirs.toObject(theirs.decode(bytes), { longs: Number, arrays: true })
        assert.deepEqual(plain(read), plain(value))
        const written = theirs.encode(theirs.create(value as object)).finish()
        assert.deepEqual(plain(written), plain(bytes))
        assert.deepEqual(plain(ours.decode(written)), plain(value))
      })
    )
  })
}

/** Without the difference between Buffer and Uint8Array. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value]
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]))
}

describe('a frame with a message', () => {
  const head = fc.record(
    {
      id: fc.oneof(fc.nat(300), fc.maxSafeNat()),
      kind: fc.oneof(fc.nat(1), count),
      body: fc.uint8Array({ maxLength: 300 }),
      replyTo: fc.oneof(fc.nat(300), fc.maxSafeNat()),
      wantsReply: fc.boolean(),
      size: fc.maxSafeNat(),
      mayRepeat: fc.boolean()
    },
    { requiredKeys: ['id', 'kind', 'body'], noNullPrototype: true }
  )

  it('is written and read the fast way as the codec does', () => {
    const exactly = (length: number): Uint8Array => new Uint8Array(length)
    fc.assert(
      fc.property(head, given => {
        const bytes = messageFrameCodec.encode({ message: given })
        assert.deepEqual(encodeMessageFrame(given, exactly), bytes)
        const read = decodeMessageFrame(bytes)
        if (read !== undefined) assert.deepEqual({ ...read }, { ...messageFrameCodec.decode(bytes).message })
      }),
      { numRuns: 1_000 }
    )
  })

  it('is the same, or left to the codec, whatever the bytes are', () => {
    fc.assert(
      fc.property(head, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }), (given, changes) => {
        const bytes = messageFrameCodec.encode({ message: given })
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte
        const read = decodeMessageFrame(bytes)
        if (read !== undefined) assert.deepEqual({ message: read }, messageFrameCodec.decode(bytes))
      }),
      { numRuns: 3_000 }
    )
  })
})
