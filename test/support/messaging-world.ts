import type { AskOptions, Progress, SendOptions, Value } from '../../src/peer/api.ts'
import { nodeCompression } from '../../src/peer/messaging/compression.server.ts'
import type { Answer } from '../../src/peer/messaging/exchange.ts'
import { openFrame } from '../../src/peer/messaging/frame.ts'
import type { MessagingLimits } from '../../src/peer/messaging/limits.ts'
import { createMessaging, type Delivery, type Messaging, type SendReceipt } from '../../src/peer/messaging/messaging.ts'
import type { Compression } from '../../src/peer/messaging/pack.ts'
import type { Clock } from '../../src/shared/core/clock.ts'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { type Topic, topicOf } from '../../src/shared/core/topic.ts'
import { FakeNetwork } from '../../src/shared/node/fake.ts'
import { createIdentity, type Identity } from '../../src/shared/node/keys.ts'
import type { Channel, Node } from '../../src/shared/node/port.ts'
import { MAX_MESSAGE_FRAME_BYTES, MESSAGE_PROTOCOL } from '../../src/shared/wire/message.ts'
import { envelopeOf, membershipOf } from './membership.ts'

export const LOBBY: Topic = await topicOf('lobby')
export const ATTIC: Topic = await topicOf('attic')

export interface TalkerOptions extends Partial<MessagingLimits> {
  readonly identity?: Identity
  readonly address?: string
  readonly clock?: Clock
  readonly hasCompression?: boolean
  /** In place of that of Node. */
  readonly compression?: Compression
}

/** One peer with messaging on a fake network. It is in both topics and keeps what it hears. */
export interface Talker {
  readonly node: Node
  readonly messaging: Messaging
  readonly topics: Set<string>
  readonly heard: Delivery[]
  /** Replaced by tests that want another application. */
  deliver: (message: Delivery) => void | Promise<void>
  /** How often the node was asked to dial and to open. */
  readonly count: { dials: number; opens: number }
  /** What is said about large values on their way here. */
  readonly progress: Array<{ readonly from: string } & Progress>
  send(to: Talker | string, value: Value, options?: { topic?: Topic } & SendOptions): Promise<SendReceipt>
  ask(to: Talker | string, value: Value, options?: { topic?: Topic } & AskOptions): Promise<Answer>
  /** A channel of the message protocol with nothing behind it, for saying what messaging would not. */
  open(to: Talker, ...first: Uint8Array[]): Promise<Channel>
  envelope(): Uint8Array
  /** The first frame of a stream of this talker. */
  openFrame(change?: Partial<Parameters<typeof openFrame>[0]>): Uint8Array
}

export class World extends Scope {
  readonly network: FakeNetwork
  readonly #addresses = new Map<string, readonly string[]>()

  constructor(options: ConstructorParameters<typeof FakeNetwork>[0] = {}) {
    super()
    this.network = new FakeNetwork(options)
  }

  async talker(settings: TalkerOptions = {}): Promise<Talker> {
    const { identity, address, clock, hasCompression = false, compression = nodeCompression, ...limits } = settings
    const proven = identity ?? (await createIdentity())
    const node = this.own(
      await this.network.createNode({
        identity: proven,
        answersAlone: true,
        ...(address === undefined ? {} : { address })
      })
    )
    this.#addresses.set(node.peerId, node.addresses)
    const topics = new Set([LOBBY.id, ATTIC.id])
    const heard: Delivery[] = []
    const progress: Talker['progress'] = []
    const count = { dials: 0, opens: 0 }
    const messaging = this.own(
      createMessaging(
        {
          node: {
            peerId: node.peerId,
            isConnected: peerId => node.isConnected(peerId),
            handle: (...rest) => node.handle(...rest),
            open(...rest) {
              count.opens++
              return node.open(...rest)
            }
          },
          connect: async (peerId, signal) => {
            count.dials++
            await node.connect({ peerId, addresses: this.#addresses.get(peerId) ?? [] }, { signal })
          },
          membership: membershipOf(node.peerId, topics),
          deliver: message => talker.deliver(message),
          onProgress: (from, _topicId, _id, { bytes, totalBytes }) => progress.push({ from, bytes, totalBytes }),
          ...(hasCompression ? { compression } : {}),
          ...(clock === undefined ? {} : { clock })
        },
        limits
      )
    )
    const talker: Talker = {
      node,
      messaging,
      topics,
      heard,
      count,
      progress,
      deliver: message => void heard.push(message),
      send: (to, value, { topic = LOBBY, ...options } = {}) =>
        messaging.send(topic, typeof to === 'string' ? to : to.node.peerId, value, options),
      ask: (to, value, { topic = LOBBY, ...options } = {}) =>
        messaging.ask(topic, typeof to === 'string' ? to : to.node.peerId, value, options),
      async open(to, ...first) {
        await node.connect({ peerId: to.node.peerId, addresses: to.node.addresses })
        return await node.open(to.node.peerId, MESSAGE_PROTOCOL, { first, maxFrameBytes: MAX_MESSAGE_FRAME_BYTES })
      },
      envelope: () => envelopeOf(node.peerId),
      openFrame: change =>
        openFrame({ topic: LOBBY.key, envelope: envelopeOf(node.peerId), session: 1, maxBytes: 1e9, ...change })
    }
    return talker
  }
}

/** A peer that takes message streams and does with them as it likes. */
export async function rogue(world: World, serve: (channel: Channel) => void | Promise<void>): Promise<Talker> {
  const talker = await world.talker()
  await talker.messaging.close()
  const limits = { maxFrameBytes: MAX_MESSAGE_FRAME_BYTES, maxInboundPerConnection: 64 }
  talker.node.handle(MESSAGE_PROTOCOL, limits, serve)
  return talker
}

/** A promise and its ends, for an application that takes its time. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: resolve }
}
