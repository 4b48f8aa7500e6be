import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import { createRequire } from 'node:module'
import { MusterError } from '../core/errors.ts'

// ChaCha20-Poly1305 (RFC 8439) as Noise uses it: no associated data, nonce = 4 zero bytes and a counter, little-endian.

export const TAG_BYTES = 16
/** The counter ends where numbers are no longer exact; Noise's own end is 2^64 - 2. Nobody gets there: it takes 285 years at a million a second. */
const LAST_COUNTER = Number.MAX_SAFE_INTEGER
/**
 * Messages after which the native library is loaded. Loading costs about 15 ms of CPU and saves 3 µs on each small
 * message: a peer that only starts, meets and greets never pays for it.
 */
const MESSAGES_BEFORE_NATIVE = 1_000

/** The part of libsodium that is used. */
interface Sodium {
  crypto_aead_chacha20poly1305_ietf_encrypt(
    sealed: Uint8Array,
    plain: Uint8Array,
    ad: null,
    nsec: null,
    nonce: Uint8Array,
    key: Uint8Array
  ): number
  crypto_aead_chacha20poly1305_ietf_decrypt(
    plain: Uint8Array,
    nsec: null,
    sealed: Uint8Array,
    ad: null,
    nonce: Uint8Array,
    key: Uint8Array
  ): number
}

/** One way of doing the arithmetic; where it works in place it says nothing of the bytes it was given. */
export interface Aead {
  /** Encrypts `plain` into `sealed`, which is 16 bytes longer and begins at the same byte. */
  seal(sealed: Uint8Array, plain: Uint8Array, nonce: Uint8Array, key: CipherKey): void
  /** The plaintext of `sealed`, whose bytes it may use. @throws when the tag is wrong. */
  open(sealed: Uint8Array, nonce: Uint8Array, key: CipherKey): Uint8Array
}

interface CipherKey {
  readonly bytes: Uint8Array
  /** What OpenSSL makes of it, made once: making it for each message costs more than encrypting a small one. */
  object?: KeyObject
}

const ALGORITHM = 'chacha20-poly1305'
const OPTIONS = { authTagLength: TAG_BYTES } as const

/** By OpenSSL, inside Node: everywhere, and slow to begin with each message. */
export const opensslAead: Aead = {
  seal(sealed, plain, nonce, key) {
    key.object ??= createSecretKey(key.bytes)
    const cipher = createCipheriv(ALGORITHM, key.object, nonce, OPTIONS)
    const text = cipher.update(plain)
    cipher.final()
    sealed.set(text)
    sealed.set(cipher.getAuthTag(), text.length)
  },
  open(sealed, nonce, key) {
    key.object ??= createSecretKey(key.bytes)
    const end = sealed.length - TAG_BYTES
    const decipher = createDecipheriv(ALGORITHM, key.object, nonce, OPTIONS)
    decipher.setAuthTag(sealed.subarray(end))
    const plain = decipher.update(sealed.subarray(0, end))
    decipher.final()
    return plain
  }
}

/** By libsodium, in place. Undefined where it has no binary for the platform. */
export function loadSodium(load: (name: string) => Sodium = createRequire(import.meta.url)): Aead | undefined {
  let sodium: Sodium
  try {
    sodium = load('sodium-native')
  } catch {
    return undefined
  }
  return {
    seal(sealed, plain, nonce, key) {
      sodium.crypto_aead_chacha20poly1305_ietf_encrypt(sealed, plain, null, null, nonce, key.bytes)
    },
    open(sealed, nonce, key) {
      const plain = sealed.subarray(0, sealed.length - TAG_BYTES)
      sodium.crypto_aead_chacha20poly1305_ietf_decrypt(plain, null, sealed, null, nonce, key.bytes)
      return plain
    }
  }
}

let processAead = opensslAead
let messagesUntilNative = MESSAGES_BEFORE_NATIVE

function countedAead(): Aead {
  if (messagesUntilNative > 0 && --messagesUntilNative === 0) processAead = loadSodium() ?? opensslAead
  return processAead
}

/** One direction of a connection after its handshake: each message has the next number as its nonce. */
export class NoiseCipher {
  readonly #key: CipherKey
  readonly #aead: () => Aead
  readonly #nonce = new Uint8Array(12)
  readonly #view = new DataView(this.#nonce.buffer)
  #counter: number

  /** `counter` and `aead` are for tests: a connection begins at 0 with what the process has. */
  constructor(key: Uint8Array, { counter = 0, aead }: { counter?: number; aead?: Aead } = {}) {
    this.#key = { bytes: key }
    this.#aead = aead === undefined ? countedAead : () => aead
    this.#counter = counter
  }

  /**
   * Encrypts the bytes of `page` from `start` to `end` where they are; the tag takes the 16 bytes behind them.
   * @throws MusterError `limit-reached` when the numbers are used up.
   */
  seal(page: Uint8Array, start: number, end: number): void {
    this.#aead().seal(page.subarray(start, end + TAG_BYTES), page.subarray(start, end), this.#next(), this.#key)
  }

  /**
   * What `sealed`, a message with its tag, says; its bytes may be used for it.
   * @throws MusterError `protocol-violation` when it is not what the other side sent next.
   */
  open(sealed: Uint8Array): Uint8Array {
    const nonce = this.#next()
    try {
      return this.#aead().open(sealed, nonce, this.#key)
    } catch (cause) {
      throw new MusterError('protocol-violation', 'a message that the other side did not encrypt', { cause })
    }
  }

  #next(): Uint8Array {
    if (this.#counter >= LAST_COUNTER) throw new MusterError('limit-reached', 'a connection that sent all it may')
    const high = Math.floor(this.#counter / 0x1_0000_0000)
    this.#view.setUint32(4, this.#counter % 0x1_0000_0000, true)
    this.#view.setUint32(8, high, true)
    this.#counter++
    return this.#nonce
  }
}
