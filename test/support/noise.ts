import { noise as stockNoise } from '@chainsafe/libp2p-noise'
import type { MessageStream, SecuredConnection, StreamCloseEvent, StreamMuxerFactory } from '@libp2p/interface'
import { createIdentity } from '../../src/shared/node/keys.ts'
import { noise as ourNoise } from '../../src/shared/node/noise.server.ts'
import { NoiseCipher } from '../../src/shared/node/noise-cipher.server.ts'
import type { RawStream } from '../../src/shared/node/noise-handshake.ts'
import { NoiseStream } from '../../src/shared/node/noise-stream.server.ts'
import { quietLogger } from '../../src/shared/node/quiet-logger.ts'
import type { WireEnd } from './wire.ts'

// Two ends of a Noise connection over a wire in memory.

export const MAKERS = { ours: ourNoise, stock: stockNoise } as const
export type Maker = keyof typeof MAKERS

const MUXER = { protocol: '/a/muxer' } as StreamMuxerFactory

/** What somebody on an encrypted connection hears. */
export class Ear {
  readonly stream: MessageStream
  readonly #heard: Buffer[] = []
  bytes = 0
  closed: StreamCloseEvent | undefined

  constructor(stream: MessageStream) {
    this.stream = stream
    stream.addEventListener('message', ({ data }) => {
      const bytes = Buffer.from(data.subarray())
      this.#heard.push(bytes)
      this.bytes += bytes.length
    })
    stream.addEventListener('close', event => {
      this.closed = event
    })
  }

  get heard(): Buffer {
    return Buffer.concat(this.#heard)
  }
}

async function encrypter(maker: Maker) {
  const { privateKey, peerId } = await createIdentity()
  const upgrader = { getStreamMuxers: () => new Map([[MUXER.protocol, MUXER]]) }
  const encrypt = MAKERS[maker]()({ privateKey, logger: quietLogger, upgrader } as never)
  return { encrypt, peerId }
}

/** The handshake of a dialler and a listener, each made by one of the two; the dialler says `say` at once after it. */
export async function handshake(
  makers: readonly [Maker, Maker],
  [a, b]: [WireEnd, WireEnd],
  options: { readonly skipStreamMuxerNegotiation?: boolean; readonly say?: Uint8Array } = {}
): Promise<{ readonly dialler: SecuredConnection; readonly listener: SecuredConnection; readonly ids: string[] }> {
  const [dialling, listening] = [await encrypter(makers[0]), await encrypter(makers[1])]
  const [dialler, listener] = await Promise.all([
    dialling.encrypt.secureOutbound(a, options).then(secured => {
      if (options.say !== undefined) secured.connection.send(options.say)
      return secured
    }),
    listening.encrypt.secureInbound(b, options)
  ])
  return { dialler, listener, ids: [dialling.peerId, listening.peerId] }
}

/** Two ends of our data phase whose keys are known, so that a test can speak in the name of either. */
export function dataPhase(
  [a, b]: [WireEnd, WireEnd],
  counter = 0
): { readonly dialler: NoiseStream; readonly listener: NoiseStream } {
  const [out, back] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
  const cipher = (key: Uint8Array): NoiseCipher => new NoiseCipher(key, { counter })
  return {
    dialler: new NoiseStream(a as RawStream, { send: cipher(out), receive: cipher(back) }, []),
    listener: new NoiseStream(b as RawStream, { send: cipher(back), receive: cipher(out) }, [])
  }
}

/** Messages as the dialler of {@link dataPhase} would send them, with their lengths in front. */
export function forged(...plain: readonly Uint8Array[]): Buffer {
  const cipher = new NoiseCipher(new Uint8Array(32).fill(1))
  return Buffer.concat(
    plain.map(text => {
      const page = Buffer.alloc(2 + text.length + 16)
      page.writeUInt16BE(text.length + 16)
      page.set(text, 2)
      cipher.seal(page, 2, 2 + text.length)
      return page
    })
  )
}

/** Lengths of the Noise messages in what was written to a wire. */
export function messageLengths(written: readonly Uint8Array[]): number[] {
  const bytes = Buffer.concat(written)
  const lengths: number[] = []
  for (let at = 0; at < bytes.length; at += 2 + bytes.readUInt16BE(at)) lengths.push(bytes.readUInt16BE(at))
  return lengths
}
