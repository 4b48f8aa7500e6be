import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { agreement, proposal } from '../../src/shared/node/negotiate.ts'

const PROTOCOL = '/muster/test/echo/1.0.0'
const text = (words: string): Uint8Array => new TextEncoder().encode(words)
const line = (words: string): Uint8Array => Uint8Array.from([words.length + 1, ...text(`${words}\n`)])
const joined = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap(part => [...part]))

describe('a proposal', () => {
  it('is header and protocol, each a line with its length in front', () => {
    assert.deepEqual(proposal(PROTOCOL), joined(line('/multistream/1.0.0'), line(PROTOCOL)))
  })

  it('of a long protocol has a length of two bytes', () => {
    const long = `/muster/${'n'.repeat(150)}/echo/1.0.0`
    const bytes = proposal(long).subarray(line('/multistream/1.0.0').length)
    const length = long.length + 1
    assert.deepEqual([bytes[0], bytes[1]], [(length & 0x7f) | 0x80, length >>> 7])
    assert.equal(bytes.length, length + 2)
  })
})

describe('an agreement', () => {
  it('is eaten, and what follows is left', () => {
    const rest = agreement(PROTOCOL).push(joined(proposal(PROTOCOL), text('frames')))
    assert.deepEqual(rest, text('frames'))
  })

  it('may come byte by byte', () => {
    const preamble = agreement(PROTOCOL)
    const bytes = proposal(PROTOCOL)
    for (const byte of bytes.subarray(0, -1)) assert.equal(preamble.push(Uint8Array.of(byte)), undefined)
    assert.deepEqual(preamble.push(bytes.subarray(-1)), new Uint8Array(0))
  })

  it('that is a refusal says that the protocol is not spoken, wherever it is cut', () => {
    const refusal = joined(line('/multistream/1.0.0'), line('na'))
    for (let cut = 1; cut < refusal.length; cut++) {
      const preamble = agreement(PROTOCOL)
      assert.throws(
        () => {
          preamble.push(refusal.slice(0, cut))
          preamble.push(refusal.slice(cut))
        },
        thrown => isMusterError(thrown, 'network-mismatch'),
        `cut at ${cut}`
      )
    }
  })

  it('that is something else is a violation', () => {
    for (const said of [text('HTTP/1.1 400'), joined(line('/multistream/1.0.0'), text('what?')), Uint8Array.of(0xff)]) {
      assert.throws(
        () => agreement(PROTOCOL).push(said),
        thrown => isMusterError(thrown, 'protocol-violation')
      )
    }
  })
})
