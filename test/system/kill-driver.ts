import { asError, MusterError } from '../../src/shared/core/errors.ts'
import type { Random } from '../../src/shared/core/random.ts'
import { deadline, raceSignal } from '../../src/shared/core/signals.ts'
import { type Topic, topicIdOf } from '../../src/shared/core/topic.ts'
import { createIdentity } from '../../src/shared/node/keys.ts'
import { createLibp2pNode, type Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { PROVIDER_VALIDITY_MS } from '../../src/shared/node/limits.ts'
import type { Channel } from '../../src/shared/node/port.ts'
import { type MemberRecord, signRecord } from '../../src/shared/roster/record.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { MAX_TOPIC_FRAME_BYTES, TOPIC_PROTOCOL, type TopicFrame, topicFrameCodec } from '../../src/shared/wire/topic.ts'
import type { Deed, History } from './kill-history.ts'

/** Milliseconds a driver waits for an acknowledgement. */
const ANSWER_MS = 5_000
const LONG_VALIDITY_MS = 30 * 60_000
/** Every fifth record expires while the test runs: what is gone for that reason is no loss. */
const SHORT_VALIDITY_MS = { from: 2_000, to: 8_000, share: 0.2 }
const MAX_PAUSE_MS = 40

/** Where the bootstrap is in this life. */
export interface Target {
  readonly life: number
  readonly peerId: string
  readonly addresses: readonly string[]
}

type Members = NonNullable<TopicFrame['members']>

/** A real node, in memory, as drivers and strangers use it. */
export async function openNode(): Promise<Libp2pNode> {
  const store = memoryStore()
  const identity = await createIdentity()
  return await createLibp2pNode({
    identity,
    network: 'muster',
    preset: 'private',
    listen: ['/ip4/127.0.0.1/tcp/0'],
    store
  })
}

/** One topic stream to the bootstrap; ends with the life it was opened in. */
export class TopicStream {
  readonly life: number
  readonly #channel: Channel
  readonly #waiting = new Map<string, PromiseWithResolvers<Members>>()

  private constructor(channel: Channel, life: number) {
    this.#channel = channel
    this.life = life
    void this.#read().catch(() => undefined) // whoever waits is told by `ask`
  }

  static async open(node: Libp2pNode, { peerId, addresses, life }: Target, signal: AbortSignal): Promise<TopicStream> {
    await node.connect({ peerId, addresses }, { signal })
    return new TopicStream(await node.open(peerId, TOPIC_PROTOCOL, { maxFrameBytes: MAX_TOPIC_FRAME_BYTES }), life)
  }

  get isOpen(): boolean {
    return !this.#channel.signal.aborted
  }

  /** Sends frames of which the last is a HELLO, and waits for its answer: then all of them have been dealt with. */
  async ask(topic: Topic, ...frames: readonly TopicFrame[]): Promise<Members> {
    const waiting = Promise.withResolvers<Members>()
    this.#waiting.set(topic.id, waiting)
    using limit = deadline(ANSWER_MS, 'the answer to a HELLO', this.#channel.signal)
    const answer = raceSignal(waiting.promise, limit.signal)
    answer.catch(() => undefined) // awaited below
    for (const frame of frames) await this.#channel.send(topicFrameCodec.encode(frame))
    return await answer
  }

  close(): void {
    this.#channel.abort(new MusterError('closed'))
  }

  async #read(): Promise<void> {
    for await (const bytes of this.#channel.frames) {
      const { members, refusal } = topicFrameCodec.decode(bytes)
      if (members !== undefined) this.#waiting.get(topicIdOf(members.topic))?.resolve(members)
      if (refusal !== undefined) {
        this.#waiting.get(topicIdOf(refusal.topic))?.reject(new MusterError('refused', refusal.code))
      }
    }
    await this.#channel.close() // a bootstrap that stops waits for it
  }
}

export interface DriverNeeds {
  readonly name: string
  readonly topics: readonly Topic[]
  readonly random: Random
  readonly history: History
  /** The bootstrap as it is now; undefined while drivers have to wait. */
  readonly target: () => Target | undefined
  /** Starts of the bootstrap so far. */
  readonly life: () => number
  readonly isKilled: () => boolean
}

/**
 * One of the peers that announce and leave. It speaks the topic protocol and the DHT through a real node, but keeps no
 * roster: which record is sent when is in the history and nowhere else. One deed at a time.
 */
export class Driver implements AsyncDisposable {
  readonly node: Libp2pNode
  readonly #needs: DriverNeeds
  readonly #entered = new Map<string, MemberRecord>()
  readonly #stop = new AbortController()
  readonly #work: Promise<void>
  #stream: TopicStream | undefined
  #lastSequence = 0
  #isIdle = true

  private constructor(node: Libp2pNode, needs: DriverNeeds) {
    this.node = node
    this.#needs = needs
    this.#answerHellos()
    node.on('disconnect', ({ peerId }) => {
      if (peerId === needs.target()?.peerId && !needs.isKilled()) {
        needs.history.add({ type: 'cut', life: needs.life(), peerId: node.peerId })
      }
    })
    this.#work = this.#drive()
  }

  static async start(needs: DriverNeeds): Promise<Driver> {
    return new Driver(await openNode(), needs)
  }

  /** No deed is under way. */
  get isIdle(): boolean {
    return this.#isIdle
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.node.close()
    await this.#work
  }

  async #drive(): Promise<void> {
    const { random, target, topics } = this.#needs
    while (!this.#stop.signal.aborted) {
      const to = target()
      this.#isIdle = to === undefined
      if (to !== undefined) {
        const topic = topics[Math.floor(random() * topics.length)]!
        const stream = await this.#streamTo(to)
        if (stream !== undefined) await this.#do(this.#choose(topic), topic, stream, to)
      }
      await new Promise(resolve => setTimeout(resolve, random() * MAX_PAUSE_MS))
    }
    this.#isIdle = true
  }

  async #streamTo(to: Target): Promise<TopicStream | undefined> {
    if (this.#stream?.isOpen && this.#stream.life === to.life) return this.#stream
    this.#stream?.close()
    this.#stream = undefined
    try {
      using limit = deadline(ANSWER_MS, 'a connection', this.#stop.signal)
      this.#stream = await TopicStream.open(this.node, to, limit.signal)
    } catch {
      // not listening yet, or killed: the next turn tries again
    }
    return this.#stream
  }

  #choose(topic: Topic): Deed {
    const drawn = this.#needs.random()
    if (!this.#entered.has(topic.id)) return drawn < 0.9 ? 'enter' : 'leave' // a goodbye may be said twice
    if (drawn < 0.5) return 'provide'
    return drawn < 0.75 ? 'leave' : 'enter'
  }

  async #do(deed: Deed, topic: Topic, stream: TopicStream, to: Target): Promise<void> {
    const { history, life } = this.#needs
    const id = history.newId()
    const record = deed === 'provide' ? undefined : await this.#sign(topic, deed === 'leave')
    if (deed === 'leave') this.#entered.delete(topic.id)
    else if (record !== undefined) this.#entered.set(topic.id, record)
    history.add({
      type: 'invoke',
      life: life(),
      id,
      deed,
      peerId: this.node.peerId,
      topic: topic.id,
      sequence: record?.sequence ?? 0,
      expiresMs: record?.expiresMs ?? Date.now() + PROVIDER_VALIDITY_MS
    })
    try {
      if (record === undefined) await this.#provide(topic, to)
      else if (record.left) {
        await stream.ask(
          topic,
          { update: { topic: topic.key, envelope: record.envelope } },
          { hello: { topic: topic.key } }
        )
      } else await stream.ask(topic, { hello: { topic: topic.key, envelope: record.envelope } })
      history.add({ type: 'ok', life: life(), id })
    } catch (thrown) {
      history.add({ type: 'info', life: life(), id, reason: asError(thrown).message })
    }
  }

  async #provide(topic: Topic, { peerId }: Target): Promise<void> {
    using limit = deadline(ANSWER_MS, 'providing', this.#stop.signal)
    const holders = await this.node.dht.provide(topic.key, { signal: limit.signal })
    if (!holders.includes(peerId)) throw new MusterError('unreachable', 'the bootstrap does not hold it')
  }

  async #sign(topic: Topic, left: boolean): Promise<MemberRecord> {
    const { random, name } = this.#needs
    const { from, to, share } = SHORT_VALIDITY_MS
    const validityMs = random() < share ? Math.round(from + random() * (to - from)) : LONG_VALIDITY_MS
    const now = Date.now()
    this.#lastSequence = Math.max(now, this.#lastSequence + 1)
    return await signRecord(this.node, {
      topicKey: topic.key,
      sequence: this.#lastSequence,
      issuedMs: now,
      expiresMs: now + validityMs,
      addresses: left ? [] : this.node.addresses,
      name,
      left
    })
  }

  /** The bootstrap asks members it has not heard of for a while whether they are still there. */
  #answerHellos(): void {
    const options = { maxFrameBytes: MAX_TOPIC_FRAME_BYTES, maxInboundPerConnection: 4 }
    this.node.handle(TOPIC_PROTOCOL, options, async channel => {
      for await (const bytes of channel.frames) {
        const { hello } = topicFrameCodec.decode(bytes)
        if (hello === undefined) continue
        const own = this.#entered.get(topicIdOf(hello.topic))
        const answer: TopicFrame =
          own === undefined
            ? { refusal: { topic: hello.topic, code: 'not-a-member' } }
            : { members: { topic: hello.topic, entries: [{ envelope: own.envelope, isLive: true }], total: 1 } }
        await channel.send(topicFrameCodec.encode(answer))
      }
      await channel.close()
    })
  }
}
