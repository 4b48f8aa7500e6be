import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { NoiseParser } from '../../src/shared/node/noise-parser.ts'

const MIN = 16

function framed(messages: readonly Uint8Array[]): Buffer {
  return Buffer.concat(messages.flatMap(message => [Buffer.from([message.length >> 8, message.length & 255]), message]))
}

describe('the parser of Noise messages', () => {
  it('finds the same messages however the bytes are cut', () => {
    const message = fc.uint8Array({ minLength: MIN, maxLength: 400 })
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 300 })),
        (messages, cuts) => {
          const bytes = framed(messages)
          const parser = new NoiseParser(MIN)
          const found: number[][] = []
          let at = 0
          for (const cut of [...cuts, bytes.length]) {
            parser.push(bytes.subarray(at, at + cut), got => found.push([...got]))
            at += cut
          }
          assert.deepEqual(
            found,
            messages.map(one => [...one])
          )
          assert.equal(parser.isIdle, true)
        }
      )
    )
  })

  it('reads the longest message byte by byte', () => {
    const message = new Uint8Array(65_535).fill(7)
    const parser = new NoiseParser(MIN)
    const found: Uint8Array[] = []
    for (const byte of framed([message])) parser.push(Uint8Array.of(byte), got => found.push(got))
    assert.deepEqual(found, [message])
  })

  it('is between messages only there', () => {
    const parser = new NoiseParser(MIN)
    const isIdle = [...framed([new Uint8Array(MIN)])].map(byte => {
      parser.push(Uint8Array.of(byte), () => undefined)
      return parser.isIdle
    })
    assert.deepEqual(isIdle, [...Array.from({ length: MIN + 1 }, () => false), true])
  })

  it('refuses a length that no message has', () => {
    for (const length of [0, 1, MIN - 1]) {
      const parser = new NoiseParser(MIN)
      const push = (): void => parser.push(Uint8Array.of(0, length, 1, 2, 3), () => assert.fail('a message'))
      assert.throws(push, error => isMusterError(error, 'protocol-violation'))
    }
  })
})
