import type { PeerId } from '../../src/shared/core/address.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { MusterError } from '../../src/shared/core/errors.ts'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { type Topic, type TopicId, topicOf } from '../../src/shared/core/topic.ts'
import type { PastBroadcast } from '../../src/shared/history/ask.ts'
import type { BookLimits } from '../../src/shared/history/book.ts'
import { readHistoryFrame } from '../../src/shared/history/frame.ts'
import { type History, openHistory } from '../../src/shared/history/history.ts'
import { FakeNetwork } from '../../src/shared/node/fake.ts'
import { createIdentity, type Identity, unseal } from '../../src/shared/node/keys.ts'
import type { Channel, Node } from '../../src/shared/node/port.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import type { Store } from '../../src/shared/store/port.ts'
import { codec } from '../../src/shared/wire/codec.ts'
import { HISTORY_PROTOCOL, type HistoryFrame, MAX_HISTORY_FRAME_BYTES } from '../../src/shared/wire/history.ts'
import { VALUE_KIND } from '../../src/shared/wire/message.ts'

export const LOBBY: Topic = await topicOf('lobby')
export const ATTIC: Topic = await topicOf('attic')
export const START = 1_700_000_000_000

const DOMAIN = 'test-broadcast'
const proofCodec = codec({
  topicId: { id: 1, type: 'string', required: true },
  sequence: { id: 2, type: 'uint64', required: true },
  sentMs: { id: 3, type: 'uint64', required: true },
  body: { id: 4, type: 'bytes', required: true }
})

/** Somebody who signs broadcasts; a signed envelope stands in for the gossip message. */
export interface Author {
  readonly peerId: PeerId
  say(
    sequence: number,
    options?: { sentMs?: number; text?: string; topic?: Topic; bytes?: number }
  ): Promise<PastBroadcast>
}

export async function author(identity?: Identity): Promise<Author> {
  const { peerId, seal } = identity ?? (await createIdentity())
  return {
    peerId,
    async say(sequence, { sentMs = START + sequence, text = `message ${sequence}`, topic = LOBBY, bytes } = {}) {
      const body = bytes === undefined ? new TextEncoder().encode(JSON.stringify(text)) : new Uint8Array(bytes)
      const proof = await seal(DOMAIN, proofCodec.encode({ topicId: topic.id, sequence, sentMs, body }))
      return await openSigned(proof, topic.id)
    }
  }
}

/** Several in order, by their sequences. */
export async function sayAll(who: Author, sequences: readonly number[]): Promise<PastBroadcast[]> {
  const said: PastBroadcast[] = []
  for (const sequence of sequences) said.push(await who.say(sequence))
  return said
}

/** As the gossip opens a proof: its signature and its topic are checked. */
export async function openSigned(proof: Uint8Array, expected: TopicId): Promise<PastBroadcast> {
  const { peerId, payload } = await unseal(DOMAIN, proof)
  const { topicId, sequence, sentMs, body } = proofCodec.decode(payload)
  if (topicId !== expected) throw new MusterError('protocol-violation', 'another topic')
  const rest = { sequence, sentMs, kind: VALUE_KIND.json, body, envelope: new Uint8Array(0), proof }
  return { topicId, author: peerId, sender: { name: undefined }, ...rest }
}

/** A broadcast that nobody signed, for what only counts and sorts. */
export function unsigned(
  who: PeerId,
  sequence: number,
  { sentMs = START + sequence, bytes = 100, topic = LOBBY } = {}
): PastBroadcast {
  const none = new Uint8Array(0)
  const proof = new Uint8Array(bytes).fill(sequence & 255)
  const rest = { sequence, sentMs, kind: 0, body: none, envelope: none, proof }
  return { topicId: topic.id, author: who, sender: { name: undefined }, ...rest }
}

export const range = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, at) => first + at)

/** Who said what, for a message of whichever form. */
export const label = ({ author: who, sequence }: { author: PeerId; sequence: number }): string => `${who} ${sequence}`

/** A node that may keep topics and may ask. */
export interface Historian {
  readonly node: Node
  readonly history: History
  readonly store: Store
  /** Topics it is in. */
  readonly topics: Set<string>
  readonly counted: Record<string, number>
  close(): Promise<void>
}

export class HistoryWorld extends Scope {
  readonly clock = new ManualClock(START + 60_000)
  readonly network = new FakeNetwork()

  async node(identity?: Identity): Promise<Node> {
    return this.own(
      await this.network.createNode({ identity: identity ?? (await createIdentity()), answersAlone: true })
    )
  }

  async historian({
    keep = [],
    store = memoryStore(),
    identity,
    limits
  }: {
    keep?: readonly Topic[]
    store?: Store
    identity?: Identity
    limits?: Partial<BookLimits>
  } = {}): Promise<Historian> {
    const scope = this.own(new Scope())
    const node = scope.own(
      await this.network.createNode({ identity: identity ?? (await createIdentity()), answersAlone: true })
    )
    const topics = new Set([LOBBY.id, ATTIC.id])
    const counted: Record<string, number> = {}
    const count = (what: string, by: number): void => {
      counted[what] = (counted[what] ?? 0) + by
    }
    const history = scope.own(
      await openHistory(
        {
          node,
          datastore: store.datastore,
          open: openSigned,
          membership: {
            own: topicId => (topics.has(topicId) ? recordOf(node.peerId) : undefined),
            async admit(peerId, topicId, envelope) {
              if (!topics.has(topicId)) throw new MusterError('not-a-member')
              const claimed = new TextDecoder().decode(envelope)
              if (claimed === 'stranger') throw new MusterError('not-a-member')
              if (claimed !== peerId) throw new MusterError('protocol-violation')
            }
          },
          onDropped: count,
          onAsked: (...asked) => count(asked.join(' '), 1),
          clock: this.clock
        },
        { keep: keep.map(({ id }) => id), ...(limits === undefined ? {} : { limits }) }
      )
    )
    return { node, history, store, topics, counted, close: () => scope.close() }
  }

  /** A node whose answers to questions for history are the test's. */
  async impostor(answer: (channel: Channel) => void | Promise<void>): Promise<Node> {
    const node = await this.node()
    node.handle(HISTORY_PROTOCOL, { maxFrameBytes: 100_000, maxInboundPerConnection: 4 }, answer)
    return node
  }

  async connect(from: Node, ...to: readonly Node[]): Promise<void> {
    for (const { peerId, addresses } of to) await from.connect({ peerId, addresses })
  }

  /** Says whatever to a keeper, and reads all it answers. */
  async exchange(from: Node, to: Node, ...first: Uint8Array[]): Promise<HistoryFrame[]> {
    await this.connect(from, to)
    const channel = await from.open(to.peerId, HISTORY_PROTOCOL, { first, maxFrameBytes: MAX_HISTORY_FRAME_BYTES })
    const frames: HistoryFrame[] = []
    for await (const bytes of channel.frames) frames.push(readHistoryFrame(bytes))
    await channel.close()
    return frames
  }
}

/** 16 MB of a topic, nearly all that is kept of one. */
export async function fill({ history }: Historian, who: PeerId): Promise<void> {
  for (const sequence of range(1, 250)) {
    history.take(unsigned(who, sequence, { bytes: 65_536 }))
    if (sequence % 50 === 0) await new Promise(resolve => setImmediate(resolve)) // it is written meanwhile
  }
}

/** Stands in for a signed member record: the peer id as text. */
export const recordOf = (peerId: PeerId): Uint8Array => new TextEncoder().encode(peerId)
