import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import type { Value } from '../../src/peer/api.ts'
import { decodeValue, encodeValue, MAX_VALUE_DEPTH, MAX_VALUE_ITEMS } from '../../src/peer/value.ts'
import { isMusterError } from '../../src/shared/core/errors.ts'

const MAX_MESSAGE_BYTES = 1_048_576
const through = (value: Value): unknown => decodeValue(encodeValue(value, MAX_MESSAGE_BYTES))?.value
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

function nested(depth: number): Value {
  let value: Value = 'deep'
  for (let at = 0; at < depth; at++) value = at % 2 === 0 ? [value] : { in: value }
  return value
}

describe('a value', () => {
  const same: Value[] = [
    null,
    true,
    false,
    0,
    -1.5,
    5e-324,
    Number.MAX_VALUE,
    Number.MAX_SAFE_INTEGER,
    '',
    'naïve ☃ 👩‍🚀 \u0000 \u2028 "\\',
    '\ud800',
    [],
    {},
    [[], {}, [null]],
    { '': '', 'a b': [1, { c: false }] },
    nested(MAX_VALUE_DEPTH),
    new Uint8Array(0),
    Uint8Array.of(0, 255, 128)
  ]
  for (const value of same) {
    it(`comes out as it went in: ${JSON.stringify(value).slice(0, 40)}`, () => assert.deepEqual(through(value), value))
  }

  it('comes out as it went in, for any JSON and any bytes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue({ noUnicodeString: false }), fc.uint8Array()), value => {
        // JSON has no −0, and what it makes has Object's prototype
        const expected = value instanceof Uint8Array ? value : JSON.parse(JSON.stringify(value))
        assert.deepEqual(through(value as Value), expected)
      })
    )
  })

  it('may hold the same object twice, have no prototype, or come from another realm', () => {
    const shared = { a: 1 }
    assert.deepEqual(through([shared, shared]), [shared, shared])
    assert.deepEqual(through(Object.assign(Object.create(null), { a: 1 })), { a: 1 })
    assert.deepEqual(through(runInNewContext('({ a: [1] })')), { a: [1] })
  })

  it('is taken as it is at the call, whatever happens to it afterwards', () => {
    const bytes = Uint8Array.of(1, 2)
    const encoded = encodeValue(bytes, 2)
    bytes.fill(9)
    assert.deepEqual(decodeValue(encoded)?.value, Uint8Array.of(1, 2))
    assert.deepEqual(through(Buffer.from([1, 2])), Uint8Array.of(1, 2))
  })

  it('named __proto__ is data and touches no prototype', () => {
    const json = '{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}}}'
    const value = decodeValue({ kind: 0, body: utf8(json) })?.value as { isAdmin?: boolean }
    assert.equal(value.isAdmin, undefined)
    assert.deepEqual(Object.keys(value), ['__proto__', 'constructor'])
    assert.equal(Object.getPrototypeOf(value), Object.prototype)
    assert.equal(({} as { isAdmin?: boolean }).isAdmin, undefined)
    assert.equal(JSON.stringify(through(value as Value)), json)
  })

  it('holds brackets in strings, which do not count as depth', () => {
    const text = `${'['.repeat(1000)}"\\"${'{'.repeat(1000)}`
    assert.equal(through(text), text)
  })
})

describe('what is no value', () => {
  const cycle: { self?: unknown } = {}
  cycle.self = { again: cycle }
  const wrong: Array<[unknown, RegExp]> = [
    [undefined, /^value: undefined/],
    [{ a: undefined }, /^value\.a: undefined/],
    [[1, [() => 1]], /^value\[1\]\[0\]: a function/],
    [{ a: { 'b c': Number.NaN } }, /^value\.a\["b c"\]: NaN/],
    [[Number.POSITIVE_INFINITY], /^value\[0\]: Infinity/],
    [{ big: 1n }, /^value\.big: a bigint/],
    [Symbol('x'), /^value: a symbol/],
    [cycle, /^value\.self\.again: it contains itself/],
    [{ at: new Date(0) }, /^value\.at: a Date/],
    [new Map([[1, 2]]), /^value: a Map/],
    [{ deep: { bytes: Uint8Array.of(1) } }, /^value\.deep\.bytes: a Uint8Array/],
    [new ArrayBuffer(1), /^value: a ArrayBuffer/],
    [new (class Point {})(), /^value: a Point/],
    [{ toJSON: () => 'converted' }, /^value\.toJSON: a function/],
    [{ [Symbol('hidden')]: 1 }, /^value: a key is a symbol/],
    // biome-ignore lint/suspicious/noSparseArray: it is what the test is about
    [[1, , 3], /^value\[1\]: undefined/],
    [Object.assign([1], { index: 0 }), /^value: an array has elements only/],
    [nested(MAX_VALUE_DEPTH + 1), /: nested more than 128 deep$/]
  ]
  for (const [value, message] of wrong) {
    it(`is told by ${message}`, () => {
      assert.throws(() => encodeValue(value as Value, MAX_MESSAGE_BYTES), { code: 'value-invalid', message })
    })
  }

  it('is never written out when it is far too large', () => {
    let blown: Value = 'x'
    for (let at = 0; at < 100; at++) blown = [blown, blown]
    for (const value of [blown, new Array(2 ** 32 - 1) as Value, 'x'.repeat(2 ** 28)]) {
      assert.throws(() => encodeValue(value, MAX_MESSAGE_BYTES), {
        code: 'too-large',
        message: /at least \d+ bytes.*at most 1048576|values inside/
      })
    }
  })

  it('has at most two million values inside, counted alike at both ends', () => {
    const body = (text: string): Uint8Array => new TextEncoder().encode(text)
    const full = Array.from({ length: MAX_VALUE_ITEMS / 2 }, () => ({})) // one each, and one for being there
    assert.equal((decodeValue(encodeValue(full, 2 ** 26))?.value as unknown[] | undefined)?.length, full.length)
    const most = Array.from({ length: MAX_VALUE_ITEMS }, () => 1)
    assert.equal((decodeValue(encodeValue(most, 2 ** 26))?.value as unknown[] | undefined)?.length, most.length)
    for (const value of [
      [...most, 1],
      [...full, {}, {}],
      [[], most]
    ] as Value[]) {
      assert.throws(() => encodeValue(value, 2 ** 26), { code: 'too-large', message: /values inside/ })
    }
    assert.throws(() => decodeValue({ kind: 0, body: body(`[${'{},'.repeat(2 ** 20)}{}]`) }), {
      code: 'protocol-violation'
    })
    const commas = `["${','.repeat(2 ** 22)}"]`
    assert.equal((decodeValue({ kind: 0, body: body(commas) })?.value as string[] | undefined)?.[0]?.length, 2 ** 22)
  })

  it('is judged at the byte, for text of more than one byte a character', () => {
    assert.equal(encodeValue('é', 4).body.length, 4)
    assert.throws(() => encodeValue('é', 3), { code: 'too-large', message: /4 bytes.*at most 3/ })
  })

  it('the early estimate never turns away what would fit', () => {
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        const { length } = utf8(JSON.stringify(value))
        encodeValue(value as Value, length)
        assert.throws(() => encodeValue(value as Value, length - 1), { code: 'too-large' })
      })
    )
  })
})

describe('bytes that claim to be a value', () => {
  it('are a value, or a violation, whatever they are', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(utf8), fc.string().map(utf8)), body => {
        try {
          decodeValue({ kind: 0, body })
        } catch (thrown) {
          assert.ok(isMusterError(thrown, 'protocol-violation'))
        }
      })
    )
  })

  it('of an unknown kind are no value', () => assert.equal(decodeValue({ kind: 2, body: utf8('1') }), undefined))
})
