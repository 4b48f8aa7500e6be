import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { encodeFrames, FRAME_PREFIX_BYTES, FrameDecoder } from '../../src/shared/wire/frames.ts'
import { heldBytes } from '../support/heap.ts'

const framesOf = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 12 })

describe('frames', () => {
  it('come out as they went in, however the bytes are cut', () => {
    fc.assert(
      fc.property(framesOf, fc.array(fc.nat({ max: 600 }), { maxLength: 30 }), (frames, cuts) => {
        const decoder = new FrameDecoder(40)
        const got = chunks(encodeFrames(frames), cuts).flatMap(chunk => decoder.push(chunk))
        assert.deepEqual(got.map(plain), frames.map(plain))
        assert.equal(decoder.isIdle, true)
      })
    )
  })

  it('of any bytes are the same, or the same error, however the bytes are cut', () => {
    const read = (parts: readonly Uint8Array[]): unknown[] => {
      const decoder = new FrameDecoder(300)
      const got: unknown[] = []
      try {
        for (const part of parts) got.push(...decoder.push(part).map(plain))
        return [...got, decoder.isIdle]
      } catch (thrown) {
        assert.ok(tooLarge(thrown))
        return ['too-large'] // what came before in the same chunk is lost with it
      }
    }
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 600 }),
      fc.array(fc.constantFrom(0, 0, 0, 1, 2, 5, 255), { maxLength: 600 }).map(all => Uint8Array.from(all))
    )
    fc.assert(
      fc.property(anything, fc.array(fc.nat({ max: 600 }), { maxLength: 30 }), (bytes, cuts) => {
        const whole = read([bytes])
        assert.deepEqual(read(chunks(bytes, cuts)), whole)
        assert.deepEqual(read([...bytes].map(byte => Uint8Array.of(byte))), whole)
      })
    )
  })

  it('come out byte by byte, too', () => {
    const decoder = new FrameDecoder(1_000)
    const frames = [new Uint8Array(0), Uint8Array.of(1), new Uint8Array(300).fill(2), new Uint8Array(0)]
    const got = [...encodeFrames(frames)].flatMap(byte => decoder.push(Uint8Array.of(byte)))
    assert.deepEqual(got.map(plain), frames.map(plain))
  })

  it('have their length in front as 32 bits, big-endian', () => {
    assert.deepEqual(plain(encodeFrames([Uint8Array.of(9, 8), new Uint8Array(0)])), [0, 0, 0, 2, 9, 8, 0, 0, 0, 0])
    assert.equal(encodeFrames([new Uint8Array(258)])[2], 1)
    assert.equal(encodeFrames([]).length, 0)
  })

  it('are idle only between frames', () => {
    const bytes = encodeFrames([Uint8Array.of(1, 2)])
    for (let cut = 0; cut <= bytes.length; cut++) {
      const decoder = new FrameDecoder(10)
      decoder.push(bytes.subarray(0, cut))
      assert.equal(decoder.isIdle, cut === 0 || cut === bytes.length, `after ${cut} bytes`)
    }
  })

  it('a claim over the limit throws as soon as its prefix is there', () => {
    fc.assert(
      fc.property(fc.integer({ min: 101, max: 0xffff_ffff }), claim => {
        const prefix = new Uint8Array(FRAME_PREFIX_BYTES)
        new DataView(prefix.buffer).setUint32(0, claim)
        const decoder = new FrameDecoder(100)
        assert.deepEqual(decoder.push(prefix.subarray(0, 3)), [])
        assert.throws(() => decoder.push(prefix.subarray(3)), tooLarge)
      })
    )
    assert.equal(new FrameDecoder(100).push(encodeFrames([new Uint8Array(100)])).length, 1)
    assert.throws(() => new FrameDecoder(0).push(encodeFrames([new Uint8Array(1)])), tooLarge)
  })

  it('hold what arrived, not what was claimed', () => {
    const claim = Uint8Array.of(0x40, 0, 0, 0) // 1 GiB
    const before = process.memoryUsage().arrayBuffers
    const decoders = Array.from({ length: 64 }, () => {
      const decoder = new FrameDecoder(0x4000_0000)
      assert.deepEqual(decoder.push(claim), [])
      return decoder
    })
    assert.ok(process.memoryUsage().arrayBuffers - before < 16 * 1024 * 1024)
    assert.ok(decoders.every(decoder => !decoder.isIdle))
  })

  it('hold about as much as arrived, in however small pieces', async () => {
    const before = await heldBytes()
    const decoders = Array.from({ length: 16 }, () => {
      const decoder = new FrameDecoder(60_000)
      decoder.push(Uint8Array.of(0, 0, 0xea, 0x60))
      for (let at = 0; at < 59_999; at++) decoder.push(Uint8Array.of(at & 255))
      return decoder
    })
    const grownBytes = (await heldBytes()) - before
    assert.ok(grownBytes < 4 * 1024 * 1024, `${grownBytes} bytes held for ${16 * 60_000}`)
    const last = decoders.map(decoder => decoder.push(Uint8Array.of(59_999 & 255))[0] ?? new Uint8Array(0))
    assert.ok(last.every(frame => frame.length === 60_000 && frame.every((byte, at) => byte === (at & 255))))
  })

  it('of an endless 0xff end at the fourth byte', () => {
    assert.throws(() => new FrameDecoder(1_048_576).push(new Uint8Array(1_000).fill(0xff)), tooLarge)
  })
})

function chunks(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...new Set([0, ...cuts.filter(cut => cut < bytes.length), bytes.length])].toSorted((a, b) => a - b)
  return places.slice(1).map((end, i) => bytes.subarray(places[i], end))
}

function plain(bytes: Uint8Array): number[] {
  return [...bytes]
}

function tooLarge(error: unknown): boolean {
  return isMusterError(error, 'too-large')
}
