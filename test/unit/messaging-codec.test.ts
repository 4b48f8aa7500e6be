import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { readFrame } from '../../src/peer/messaging/frame.ts'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { type MessageFrame, messageFrameCodec } from '../../src/shared/wire/message.ts'

const id = fc.oneof(fc.nat({ max: 300 }), fc.maxSafeNat())
const body = fc.uint8Array({ maxLength: 300 })
const small = fc.nat({ max: 2 ** 31 - 1 })
const withSome = { noNullPrototype: true }
const frames: fc.Arbitrary<MessageFrame> = fc.oneof(
  fc.record({
    open: fc.record(
      { topic: fc.uint8Array({ maxLength: 36 }), envelope: body, session: id, encodings: small, maxBytes: id },
      { ...withSome, requiredKeys: ['topic', 'envelope', 'session', 'maxBytes'] }
    )
  }),
  fc.record({ welcome: fc.record({ encodings: small, maxBytes: id }, { ...withSome, requiredKeys: ['maxBytes'] }) }),
  fc.record({
    message: fc.record(
      {
        ...{ id, kind: small, body, replyTo: id, wantsReply: fc.constant(true), size: id },
        ...{ encoding: small, rawSize: id, mayRepeat: fc.constant(true) }
      },
      { ...withSome, requiredKeys: ['id', 'kind', 'body'] }
    )
  }),
  fc.record({ receipt: fc.record({ id, since: id }, { ...withSome, requiredKeys: ['id'] }) }),
  fc.record({
    refusal: fc.record({ id, code: fc.string({ maxLength: 10 }) }, { ...withSome, requiredKeys: ['code'] })
  }),
  fc.record({ part: fc.record({ id, body }, withSome) }),
  fc.record({ cancel: fc.record({ id }, withSome) })
)

describe('a frame of the message protocol', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(frames, frame => assert.deepEqual(plain(readFrame(messageFrameCodec.encode(frame))), plain(frame)))
    )
  })

  it('is read whole, or not at all', () => {
    fc.assert(
      fc.property(frames, fc.double({ min: 0, max: 0.999, noNaN: true }), (frame, share) => {
        const bytes = messageFrameCodec.encode(frame)
        isReadOrRefused(bytes.subarray(0, Math.floor(bytes.length * share)), false)
      })
    )
  })

  it('with any bytes changed, or made of any bytes, is a frame or a violation', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => isReadOrRefused(bytes, true)),
      { numRuns: 1000 }
    )
    const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(frames, changes, (frame, all) => {
        const bytes = messageFrameCodec.encode(frame)
        for (const [at, byte] of all) bytes[at % bytes.length] = byte
        isReadOrRefused(bytes, true)
      }),
      { numRuns: 1000 }
    )
  })
})

function isReadOrRefused(bytes: Uint8Array, mayBeRead: boolean): void {
  try {
    const frame = readFrame(bytes)
    assert.ok(mayBeRead, `half a frame was read: ${JSON.stringify(frame)}`)
    assert.equal(Object.keys(frame).length, 1)
  } catch (thrown) {
    assert.ok(isMusterError(thrown, 'protocol-violation'), String(thrown))
  }
}

/** Byte strings as arrays, so that views and copies compare. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, each) => (each instanceof Uint8Array ? [...each] : each)))
}
