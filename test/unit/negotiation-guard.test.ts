import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Stream } from '@libp2p/interface'
import { handle, select } from '@libp2p/multistream-select'
import { lpStream, streamPair } from '@libp2p/utils'
import { encode as varint } from 'uint8-varint'
import { Uint8ArrayList } from 'uint8arraylist'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { MAX_NEGOTIATION_MESSAGES } from '../../src/shared/node/limits.ts'
import { boundedLengths } from '../../src/shared/node/negotiation-guard.ts'

const ENDLESS = new Uint8Array(262_144).fill(0xff)
const decoded = (length: number): number => boundedLengths().lengthDecoder(new Uint8ArrayList(varint(length)))
const isViolation = (thrown: unknown): boolean => isMusterError(thrown, 'protocol-violation')

/** Bounded lengths, and how often a length was looked at. */
function counted(): ReturnType<typeof boundedLengths> & { readonly looks: () => number } {
  const { lengthDecoder } = boundedLengths()
  let looks = 0
  return {
    lengthDecoder(prefix) {
      looks++
      return lengthDecoder(prefix)
    },
    looks: () => looks
  }
}

async function said(...lines: readonly string[]): Promise<Stream> {
  const [ours, theirs] = await streamPair()
  const lp = lpStream(theirs)
  for (const line of lines) await lp.write(new TextEncoder().encode(`${line}\n`))
  return ours
}

describe('the lengths of a negotiation', () => {
  it('have up to two bytes', () => {
    for (const length of [0, 1, 127, 128, 1_024, 16_383]) assert.equal(decoded(length), length)
    for (const length of [16_384, 2 ** 31]) assert.throws(() => decoded(length), isViolation)
  })

  it('may come a byte at a time', () => {
    assert.throws(() => boundedLengths().lengthDecoder(new Uint8ArrayList(Uint8Array.of(0x80))), RangeError)
  })

  for (const [who, negotiate] of Object.entries({ handle, select })) {
    it(`end an endless one at its third byte: ${who}`, async () => {
      const [ours, theirs] = await streamPair()
      theirs.send(ENDLESS)
      const lengths = counted()
      await assert.rejects(negotiate(ours, ['/a'], lengths), isViolation)
      assert.equal(lengths.looks(), 3)
    })
  }

  it('are so many at most', async () => {
    const fits = Array.from({ length: MAX_NEGOTIATION_MESSAGES - 2 }, (_, i) => `/other/${i}`)
    assert.equal(await handle(await said('/multistream/1.0.0', ...fits, '/a'), ['/a'], boundedLengths()), '/a')
    const tooMany = await said('/multistream/1.0.0', ...fits, '/one-more', '/a')
    await assert.rejects(handle(tooMany, ['/a'], boundedLengths()), isViolation)
  })
})
