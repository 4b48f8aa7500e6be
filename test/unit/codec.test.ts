import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { codec } from '../../src/shared/wire/codec.ts'

const innerCodec = codec({ text: { id: 1, type: 'string', max: 8, required: true } })
const schema = {
  blob: { id: 1, type: 'bytes', max: 16, required: true },
  text: { id: 2, type: 'string', max: 16 },
  small: { id: 3, type: 'uint32' },
  large: { id: 4, type: 'uint64' },
  flag: { id: 5, type: 'bool' },
  list: { id: 6, type: 'string', max: 4, repeated: 3 },
  inner: { id: 7, message: innerCodec },
  inners: { id: 20, message: innerCodec, max: 6, repeated: 2 }
} as const
const tested = codec(schema)

const text = (maxBytes: number): fc.Arbitrary<string> =>
  fc
    .string({ unit: 'grapheme', maxLength: maxBytes })
    .filter(given => new TextEncoder().encode(given).length <= maxBytes)
const inner = (maxBytes: number) => fc.record({ text: text(maxBytes) }, { noNullPrototype: true })
const value = fc.record(
  {
    blob: fc.uint8Array({ maxLength: 16 }),
    text: text(16),
    small: fc.integer({ min: 0, max: 0xffff_ffff }),
    large: fc.maxSafeNat(),
    flag: fc.boolean(),
    list: fc.array(text(4), { maxLength: 3 }),
    inner: inner(8),
    inners: fc.array(inner(4), { maxLength: 2 })
  },
  { requiredKeys: ['blob', 'list', 'inners'], noNullPrototype: true }
)

describe('codec', () => {
  it('decodes what it encoded', () => {
    fc.assert(fc.property(value, given => assert.deepEqual(tested.decode(tested.encode(given)), given)))
  })

  it('throws protocol-violation and nothing else on arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), bytes => {
        try {
          tested.decode(bytes)
        } catch (thrown) {
          assert.ok(isMusterError(thrown, 'protocol-violation'), String(thrown))
        }
      }),
      { numRuns: 2_000 }
    )
  })

  it('never takes a truncated message for a whole one of other content', () => {
    fc.assert(
      fc.property(value, fc.nat(), ({ large: _, ...given }, cut) => {
        // without `large`: protons takes a 64-bit varint that is cut at the very end for what is there of it
        const bytes = tested.encode(given)
        const part = bytes.subarray(0, cut % (bytes.length + 1))
        try {
          const got = tested.encode(tested.decode(part))
          assert.deepEqual(got, part) // cut between two fields
        } catch (thrown) {
          assert.ok(isMusterError(thrown, 'protocol-violation'), String(thrown))
        }
      })
    )
  })

  it('skips unknown fields of every wire type, wherever they stand', () => {
    const known = tested.encode({ blob: Uint8Array.of(1), list: [], inners: [] })
    const unknown = {
      varint: [0xf8, 0x01, 0xff, 0xff, 0x03],
      fixed64: [0xf9, 0x01, 1, 2, 3, 4, 5, 6, 7, 8],
      bytes: [0xfa, 0x01, 2, 7, 7],
      fixed32: [0xfd, 0x01, 1, 2, 3, 4]
    }
    for (const [name, field] of Object.entries(unknown)) {
      for (const bytes of [Uint8Array.of(...field, ...known), Uint8Array.of(...known, ...field)]) {
        assert.deepEqual(tested.decode(bytes), { blob: Uint8Array.of(1), list: [], inners: [] }, name)
      }
      violates(Uint8Array.of(...known, ...field.slice(0, -1)))
    }
  })

  it('skips a known field in another wire type', () => {
    const known = tested.encode({ blob: Uint8Array.of(1), list: [], inners: [] })
    assert.equal(tested.decode(Uint8Array.of(...known, 0x1a, 1, 5)).small, undefined)
  })

  it('refuses a message without a required field', () => {
    violates(new Uint8Array(0))
    violates(Uint8Array.of(0x18, 1))
    violates(Uint8Array.of(0x0a, 0, 0x3a, 0)) // an inner message without its text
  })

  it('refuses what passes a limit', () => {
    const blob = new Uint8Array(0)
    const fits = { blob, list: [], inners: [] }
    violates(tested.encode({ ...fits, blob: new Uint8Array(17) }))
    violates(tested.encode({ ...fits, text: 'ä'.repeat(9) })) // 9 characters, 18 bytes
    violates(tested.encode({ ...fits, list: ['', '', '', ''] }))
    violates(tested.encode({ ...fits, list: ['12345'] }))
    violates(tested.encode({ ...fits, inner: { text: '123456789' } }))
    violates(tested.encode({ ...fits, inners: [{ text: '12345' }] }))
    violates(tested.encode({ ...fits, inners: [{ text: '1' }, { text: '2' }, { text: '3' }] }))
    violates(Uint8Array.of(0x0a, 0, 0x20, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10)) // 2^53
    assert.equal(tested.decode(tested.encode({ ...fits, large: Number.MAX_SAFE_INTEGER })).large, 2 ** 53 - 1)
  })

  it('refuses a length that reaches past the end, and an endless varint', () => {
    violates(Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x07))
    violates(Uint8Array.of(0x0a, 5, 1))
    violates(new Uint8Array(1_000).fill(0xff))
    violates(Uint8Array.of(0x0a, 0, 0x20, ...new Uint8Array(64).fill(0x80)))
  })

  it('refuses text that is not UTF-8', () => {
    violates(Uint8Array.of(0x0a, 0, 0x12, 2, 0xc3, 0x28))
  })
})

function violates(bytes: Uint8Array): void {
  violatesIn(() => tested.decode(bytes))
}

function violatesIn(run: () => unknown): void {
  assert.throws(run, error => isMusterError(error, 'protocol-violation'))
}
