import type { PeerId } from '../core/address.ts'
import type { Clock } from '../core/clock.ts'
import { asMusterError, MusterError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { TopicId } from '../core/topic.ts'
import type { Channel, Node } from '../node/port.ts'
import { MAX_TOPIC_FRAME_BYTES, TOPIC_PROTOCOL, type TopicFrame, topicFrameCodec } from '../wire/topic.ts'
import { MAX_TOPIC_STREAMS_PER_CONNECTION } from './limits.ts'
import { type FrameKind, kindOf, Link } from './link.ts'

export interface LinksNeeds {
  readonly node: Pick<Node, 'open' | 'handle'>
  readonly clock: Clock
  readonly log: Log
  readonly signal: AbortSignal
  /** Deals with one frame before the next of its link is read; what it throws breaks the link. */
  onFrame(link: Link, frame: TopicFrame): Promise<void>
  /** The last link to a peer is gone. */
  onUnlinked(peerId: PeerId): void
  onBroken(error: MusterError): void
  onTooFast(): void
  count(kind: FrameKind, direction: 'in' | 'out'): void
}

/** The topic streams to all neighbours. Two may open one towards each other at once: then there are two, and both serve. */
export class Links {
  readonly #needs: LinksNeeds
  readonly #links = new Map<PeerId, Set<Link>>()
  /** Many topics may want the same neighbour at once; it accepts few streams. */
  readonly #opening = new Map<PeerId, Promise<Link>>()

  constructor(needs: LinksNeeds) {
    this.#needs = needs
  }

  /** Serves the topic protocol until the returned undo is called. */
  serve(): () => void {
    const options = { maxFrameBytes: MAX_TOPIC_FRAME_BYTES, maxInboundPerConnection: MAX_TOPIC_STREAMS_PER_CONNECTION }
    return this.#needs.node.handle(TOPIC_PROTOCOL, options, channel => this.#read(this.#add(channel)))
  }

  to(peerId: PeerId): Link | undefined {
    return [...(this.#links.get(peerId) ?? [])].find(link => link.isOpen)
  }

  sharing(topicId: TopicId): Link[] {
    return [...this.#links.values()].flatMap(
      set => [...set].find(link => link.isOpen && link.shared.has(topicId)) ?? []
    )
  }

  /** Whether a peer has answered our HELLO for a topic, over whichever of its links. */
  trusts(peerId: PeerId, topicId: TopicId): boolean {
    return [...(this.#links.get(peerId) ?? [])].some(link => link.isOpen && link.trusted.has(topicId))
  }

  tell(topicId: TopicId, frame: TopicFrame, ...except: ReadonlyArray<PeerId | undefined>): void {
    for (const link of this.sharing(topicId)) if (!except.includes(link.peerId)) link.send(frame)
  }

  /**
   * Sends a frame over the open link to a peer, or in the opening flight of a new one. `prepare` runs before an answer
   * can come.
   */
  async say(peerId: PeerId, frame: TopicFrame, prepare: (link: Link) => void = () => undefined): Promise<Link> {
    const underWay = this.to(peerId) ?? this.#opening.get(peerId)
    if (underWay !== undefined) {
      const link = await underWay
      if (!link.isOpen) throw new MusterError('closed', 'the topic stream ended')
      prepare(link)
      link.send(frame)
      return link
    }
    const opening = this.#open(peerId, frame, prepare).finally(() => this.#opening.delete(peerId))
    this.#opening.set(peerId, opening)
    return await opening
  }

  async close(): Promise<void> {
    const links = [...this.#links.values()].flatMap(set => [...set])
    await Promise.all(links.map(link => link.close(this.#needs.clock)))
  }

  async #open(peerId: PeerId, first: TopicFrame, prepare: (link: Link) => void): Promise<Link> {
    const { node, signal, count } = this.#needs
    const channel = await node.open(peerId, TOPIC_PROTOCOL, {
      maxFrameBytes: MAX_TOPIC_FRAME_BYTES,
      signal,
      first: [topicFrameCodec.encode(first)]
    })
    count(kindOf(first), 'out')
    const link = this.#add(channel)
    prepare(link)
    void this.#read(link)
    return link
  }

  #add(channel: Channel): Link {
    const link = new Link(channel, this.#needs.clock.now(), kind => this.#needs.count(kind, 'out'))
    const links = this.#links.get(channel.peerId) ?? new Set()
    this.#links.set(channel.peerId, links)
    links.add(link)
    return link
  }

  /** Reads one link until it ends. */
  async #read(link: Link): Promise<void> {
    const { clock, log, onFrame, onTooFast, onBroken, count } = this.#needs
    try {
      for await (const bytes of link.channel.frames) {
        if (!link.mayReceive(clock.now())) {
          onTooFast()
          throw new MusterError('limit-reached', 'too many topic frames')
        }
        const frame = topicFrameCodec.decode(bytes)
        count(kindOf(frame), 'in')
        await onFrame(link, frame)
      }
      await link.close(clock)
    } catch (thrown) {
      const error = asMusterError(thrown, 'closed')
      onBroken(error)
      log.debug({ err: error, peerId: link.peerId }, 'topic stream ended')
      link.channel.abort(error)
      link.fail(error)
    } finally {
      link.fail(new MusterError('closed', 'the topic stream ended'))
      this.#drop(link)
    }
  }

  #drop(link: Link): void {
    const links = this.#links.get(link.peerId)
    links?.delete(link)
    if (links?.size !== 0) return
    this.#links.delete(link.peerId)
    if (!this.#needs.signal.aborted) this.#needs.onUnlinked(link.peerId)
  }
}
