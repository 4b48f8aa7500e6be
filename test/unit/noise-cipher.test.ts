import assert from 'node:assert/strict'
import { createCipheriv, randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { isMusterError } from '../../src/shared/core/errors.ts'
import {
  type Aead,
  loadSodium,
  NoiseCipher,
  opensslAead,
  TAG_BYTES
} from '../../src/shared/node/noise-cipher.server.ts'

const sodium = loadSodium()
assert.ok(sodium !== undefined, 'the machines that test have a binary of libsodium')
const AEADS: Readonly<Record<string, Aead>> = { OpenSSL: opensslAead, libsodium: sodium }
const LENGTHS = [0, 1, 15, 16, 63, 64, 65, 1_200, 16_384, 65_519]

function sealed(cipher: NoiseCipher, plain: Uint8Array): Uint8Array {
  const page = new Uint8Array(plain.length + TAG_BYTES + 7)
  page.set(plain, 7)
  cipher.seal(page, 7, 7 + plain.length)
  return page.slice(7)
}

/** RFC 8439 with the nonce that Noise makes of a number, written down by somebody else. */
function expected(key: Uint8Array, counter: bigint, plain: Uint8Array): Buffer {
  const nonce = Buffer.alloc(12)
  nonce.writeBigUInt64LE(counter, 4)
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES })
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

describe('one direction of a Noise connection', () => {
  for (const [name, aead] of Object.entries(AEADS)) {
    it(`seals as ChaCha20-Poly1305 with a nonce that counts, by ${name}`, () => {
      const key = randomBytes(32)
      const cipher = new NoiseCipher(key, { aead })
      for (const [i, length] of LENGTHS.entries()) {
        const plain = randomBytes(length)
        assert.ok(expected(key, BigInt(i), plain).equals(sealed(cipher, plain)), `${length} bytes`)
      }
    })

    for (const [otherName, other] of Object.entries(AEADS)) {
      it(`is opened by ${otherName} when ${name} sealed it`, () => {
        const key = randomBytes(32)
        const [from, to] = [new NoiseCipher(key, { aead }), new NoiseCipher(key, { aead: other })]
        for (const length of LENGTHS) {
          const plain = randomBytes(length)
          assert.ok(plain.equals(to.open(sealed(from, plain))), `${length} bytes`)
        }
      })
    }

    it(`refuses a message of which a single bit is another, by ${name}`, () => {
      const key = randomBytes(32)
      const message = sealed(new NoiseCipher(key, { aead }), randomBytes(40))
      for (let bit = 0; bit < 8 * message.length; bit++) {
        const changed = Uint8Array.from(message)
        changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
        const open = (): unknown => new NoiseCipher(key, { aead }).open(changed)
        assert.throws(open, error => isMusterError(error, 'protocol-violation'))
      }
    })

    it(`refuses a message that comes again, or out of turn, by ${name}`, () => {
      const key = randomBytes(32)
      const from = new NoiseCipher(key, { aead })
      const [first, second] = [sealed(from, randomBytes(9)), sealed(from, randomBytes(9))]
      const again = new NoiseCipher(key, { aead })
      again.open(first.slice())
      assert.throws(
        () => again.open(first.slice()),
        error => isMusterError(error, 'protocol-violation')
      )
      assert.throws(
        () => new NoiseCipher(key, { aead }).open(second),
        error => isMusterError(error, 'protocol-violation')
      )
    })
  }

  it('counts on behind 32 bits, where the nonce has its upper half', () => {
    const key = randomBytes(32)
    const counter = 2 ** 32 - 1
    const cipher = new NoiseCipher(key, { counter })
    for (const i of [0, 1, 2]) {
      const plain = randomBytes(20)
      assert.ok(expected(key, BigInt(counter + i), plain).equals(sealed(cipher, plain)))
    }
  })

  it('uses no nonce twice when its numbers are used up: it stops', () => {
    const key = randomBytes(32)
    for (const use of [
      (cipher: NoiseCipher) => sealed(cipher, randomBytes(1)),
      (cipher: NoiseCipher) => cipher.open(randomBytes(17))
    ]) {
      const cipher = new NoiseCipher(key, { counter: Number.MAX_SAFE_INTEGER })
      for (let i = 0; i < 2; i++)
        assert.throws(
          () => use(cipher),
          error => isMusterError(error, 'limit-reached')
        )
    }
  })

  it('goes on in the middle of a connection when the native library comes', () => {
    const key = randomBytes(32)
    const [from, to] = [new NoiseCipher(key), new NoiseCipher(key)]
    for (let i = 0; i < 2_000; i++) {
      const plain = randomBytes(i % 50)
      assert.ok(plain.equals(to.open(sealed(from, plain))))
    }
  })

  it('does without the native library where there is none', () => {
    assert.equal(
      loadSodium(() => {
        throw new Error('no binary for this platform')
      }),
      undefined
    )
  })
})
