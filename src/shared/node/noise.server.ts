import { noise as stockNoise } from '@chainsafe/libp2p-noise'
import { defaultCrypto } from '@chainsafe/libp2p-noise/crypto'
import type { ConnectionEncrypter, MessageStream, SecureConnectionOptions, SecuredConnection } from '@libp2p/interface'
import { NoiseCipher } from './noise-cipher.server.ts'
import { HandshakeStream, type RawStream } from './noise-handshake.ts'
import { NoiseStream } from './noise-stream.server.ts'

/** Handshake messages of the XX pattern that each side reads. */
const READ_BY = { initiator: 1, responder: 2 } as const

/** Asks a cipher for its key: the handshake keeps keys to itself, but hands them to whoever does the arithmetic. */
const KEY_PROBE = new Uint8Array(0)

const crypto: typeof defaultCrypto = {
  ...defaultCrypto,
  chaCha20Poly1305Encrypt: (plain, nonce, ad, key) =>
    plain === KEY_PROBE ? key : defaultCrypto.chaCha20Poly1305Encrypt(plain, nonce, ad, key),
  chaCha20Poly1305Decrypt: (sealed, nonce, ad, key, into) =>
    sealed === KEY_PROBE ? key : defaultCrypto.chaCha20Poly1305Decrypt(sealed, nonce, ad, key, into)
}

/** What `@chainsafe/libp2p-noise` returns; the versions are pinned. */
interface StockStream {
  readonly handshake: {
    encrypt(plain: Uint8Array): Uint8Array
    decrypt(sealed: Uint8Array): Uint8Array
  }
}

type Components = Parameters<ReturnType<typeof stockNoise>>[0]

/**
 * `/noise` with the handshake of `@chainsafe/libp2p-noise` and a data phase of our own (docs/decisions/0015).
 * The handshake runs over a stream that shows it its own messages and no byte more; what follows them is kept for
 * the data phase, so that neither misses what the other has read.
 */
export function noise(): (components: Components) => ConnectionEncrypter {
  return components => {
    const stock = stockNoise({ crypto })(components)
    const secure = async (
      side: 'Outbound' | 'Inbound',
      connection: MessageStream,
      options?: SecureConnectionOptions
    ): Promise<SecuredConnection> => {
      const stream = connection as RawStream
      const handshake = new HandshakeStream(stream, side === 'Outbound' ? READ_BY.initiator : READ_BY.responder)
      try {
        const secured = await stock[`secure${side}`](handshake, options)
        const { encrypt, decrypt } = (secured.connection as unknown as StockStream).handshake
        const keys = {
          send: new NoiseCipher(encrypt(KEY_PROBE)),
          receive: new NoiseCipher(decrypt(KEY_PROBE))
        }
        return { ...secured, connection: handshake.handOver(early => new NoiseStream(stream, keys, early)) }
      } catch (thrown) {
        handshake.detach()
        throw thrown
      }
    }
    return {
      protocol: stock.protocol,
      secureOutbound: (stream, options) => secure('Outbound', stream, options),
      secureInbound: (stream, options) => secure('Inbound', stream, options)
    }
  }
}
