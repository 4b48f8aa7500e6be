import type { ByteStream, OpenStreamOptions } from '../../src/peer/api.ts'
import { ACCEPT_FRAME, openFrame } from '../../src/peer/streams/frame.ts'
import type { StreamLimits } from '../../src/peer/streams/limits.ts'
import { createStreams, type RawStreams } from '../../src/peer/streams/streams.ts'
import type { Clock } from '../../src/shared/core/clock.ts'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { type Topic, topicOf } from '../../src/shared/core/topic.ts'
import { FakeNetwork } from '../../src/shared/node/fake.ts'
import { createIdentity } from '../../src/shared/node/keys.ts'
import type { Channel, Node } from '../../src/shared/node/port.ts'
import { MAX_STREAM_FRAME_BYTES, STREAM_PROTOCOL } from '../../src/shared/wire/stream.ts'
import { envelopeOf, membershipOf } from './membership.ts'

export const LOBBY: Topic = await topicOf('lobby')
export const ATTIC: Topic = await topicOf('attic')

export interface StreamerOptions extends Partial<StreamLimits> {
  readonly clock?: Clock
}

/** One peer with streams on a fake network, in the lobby and the attic. */
export interface Streamer {
  readonly node: Node
  readonly streams: RawStreams
  readonly topics: Set<string>
  /** How its streams ended, in order. */
  readonly outcomes: string[]
  /** Keeps what is opened towards it in the lobby under `name`. */
  takes(name: string): ByteStream[]
  open(to: Streamer, name: string, options?: OpenStreamOptions & { topic?: Topic }): Promise<ByteStream>
  /** A channel of the stream protocol with nothing behind it, for saying what streams would not. */
  raw(to: Streamer, ...first: Uint8Array[]): Promise<Channel>
  /** A raw channel that opened the stream `name` and was taken; its frames behind ACCEPT. */
  rawOpen(to: Streamer, name: string): Promise<{ channel: Channel; frames: AsyncIterator<Uint8Array> }>
}

export class StreamWorld extends Scope {
  readonly network: FakeNetwork
  readonly #addresses = new Map<string, readonly string[]>()

  constructor(options: ConstructorParameters<typeof FakeNetwork>[0] = {}) {
    super()
    this.network = new FakeNetwork(options)
  }

  async streamer({ clock, ...limits }: StreamerOptions = {}): Promise<Streamer> {
    const node = this.own(await this.network.createNode({ identity: await createIdentity(), answersAlone: true }))
    this.#addresses.set(node.peerId, node.addresses)
    const topics = new Set([LOBBY.id, ATTIC.id])
    const outcomes: string[] = []
    const streams = this.own(
      createStreams(
        {
          node,
          connect: async (peerId, signal) => {
            await node.connect({ peerId, addresses: this.#addresses.get(peerId) ?? [] }, { signal })
          },
          membership: membershipOf(node.peerId, topics),
          metrics: { onOver: (direction, outcome) => void outcomes.push(`${direction} ${outcome}`) },
          ...(clock === undefined ? {} : { clock })
        },
        limits
      )
    )
    const streamer: Streamer = {
      node,
      streams,
      topics,
      outcomes,
      takes(name) {
        const taken: ByteStream[] = []
        streams.handle(LOBBY, name, stream => void taken.push(stream))
        return taken
      },
      open: (to, name, { topic = LOBBY, ...options } = {}) => streams.open(topic, to.node.peerId, name, options),
      async raw(to, ...first) {
        await node.connect({ peerId: to.node.peerId, addresses: to.node.addresses })
        return await node.open(to.node.peerId, STREAM_PROTOCOL, { first, maxFrameBytes: MAX_STREAM_FRAME_BYTES })
      },
      async rawOpen(to, name) {
        const channel = await streamer.raw(to, openFrame(LOBBY.key, envelopeOf(node.peerId), name))
        const frames = channel.frames[Symbol.asyncIterator]()
        const { value } = await frames.next()
        if (Buffer.compare(value ?? new Uint8Array(0), ACCEPT_FRAME) !== 0) throw new Error('not taken')
        return { channel, frames }
      }
    }
    return streamer
  }

  /** Two streamers and one stream between them, with both its ends. */
  async pair(
    options: StreamerOptions = {}
  ): Promise<{ ana: Streamer; bob: Streamer; here: ByteStream; there: ByteStream }> {
    const [ana, bob] = [await this.streamer(options), await this.streamer(options)]
    const taken = bob.takes('pipe')
    const here = await ana.open(bob, 'pipe')
    const [there] = taken
    if (there === undefined) throw new Error('the handler was not called before the opener heard of it')
    return { ana, bob, here, there }
  }
}

/** Everything a stream brings, as one byte string. */
export async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream))
}
