import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { encode as varint } from 'uint8-varint'
import { FrameMeter } from '../../src/shared/node/dht-guard.ts'
import { MAX_DHT_FRAME_BYTES, MAX_DHT_FRAMES_PER_STREAM } from '../../src/shared/node/limits.ts'

function frame(length: number): Uint8Array {
  const prefix = varint(length)
  const bytes = new Uint8Array(prefix.length + length)
  bytes.set(prefix)
  return bytes
}

describe('the meter in front of a DHT stream', () => {
  it('lets frames up to the limit pass, whole or byte by byte', () => {
    assert.equal(new FrameMeter().push(frame(MAX_DHT_FRAME_BYTES)), true)
    const meter = new FrameMeter()
    for (const byte of frame(300)) assert.equal(meter.push(Uint8Array.of(byte)), true)
  })

  it('stops at the prefix of a longer one, before its bytes come', () => {
    assert.equal(new FrameMeter().push(varint(MAX_DHT_FRAME_BYTES + 1)), false)
    assert.equal(new FrameMeter().push(varint(2 ** 31)), false)
  })

  it('stops an endless prefix within four bytes, also when each comes alone', () => {
    assert.equal(new FrameMeter().push(new Uint8Array(100_000).fill(0xff)), false)
    const meter = new FrameMeter()
    const said = [1, 2, 3, 4].map(() => meter.push(Uint8Array.of(0xff)))
    assert.deepEqual(said, [true, true, true, false])
  })

  it('counts frames, empty ones too', () => {
    const meter = new FrameMeter()
    for (let i = 0; i < MAX_DHT_FRAMES_PER_STREAM; i++) assert.equal(meter.push(frame(0)), true)
    assert.equal(meter.push(frame(0)), false)
    assert.equal(new FrameMeter().push(new Uint8Array(MAX_DHT_FRAMES_PER_STREAM + 1)), false)
  })

  it('follows frames across chunks', () => {
    const bytes = new Uint8Array([...frame(5), ...frame(200), ...frame(0), ...varint(MAX_DHT_FRAME_BYTES + 1)])
    for (let cut = 1; cut < bytes.length - 3; cut++) {
      const meter = new FrameMeter()
      assert.equal(meter.push(bytes.subarray(0, cut)), true)
      assert.equal(meter.push(bytes.subarray(cut)), false)
    }
  })
})
