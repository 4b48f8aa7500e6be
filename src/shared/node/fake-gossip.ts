import type { PeerId } from '../core/address.ts'
import type { Clock } from '../core/clock.ts'
import { asMusterError, MusterError } from '../core/errors.ts'
import type { Undo } from '../core/lifecycle.ts'
import type { TopicId } from '../core/topic.ts'
import { gossipTopic } from '../wire/broadcast.ts'
import type { FakeEnd } from './fake-connection.ts'
import type { Identity } from './keys.ts'
import type { Gossip, GossipMessage, GossipVerdict, Published, WaitOptions } from './port.ts'
import { openProof, signPubsub } from './pubsub.ts'

/** How long a message is known again, as with gossipsub. */
export const FAKE_SEEN_MS = 120_000
/** Rejected messages after which nothing more is taken from a neighbour. */
export const FAKE_REJECTS = 3

type Judge = (message: GossipMessage) => Promise<GossipVerdict>

/** What a node of the fake network needs to gossip. */
interface FakeGossipInit {
  readonly node: {
    readonly peerId: PeerId
    readonly network: string
    readonly signal: AbortSignal
    ends(): FakeEnd[]
  }
  readonly identity: Identity
  readonly clock: Clock
}

/**
 * Gossip of the fake network: every connected node in a topic is a neighbour. Messages are really signed and verified,
 * so that attacks can be played, and travel over the connections with their faults.
 */
export class FakeGossip implements Gossip {
  readonly #init: FakeGossipInit
  readonly #judges = new Map<TopicId, Judge>()
  readonly #seen = new Map<string, number>()
  readonly #rejects = new Map<PeerId, number>()
  #seqno = 0n

  constructor(init: FakeGossipInit) {
    this.#init = init
  }

  subscribe(topicId: TopicId, judge: Judge): Undo {
    if (this.#judges.has(topicId)) throw new MusterError('options-invalid', 'the topic is subscribed to already')
    this.#judges.set(topicId, judge)
    return () => {
      if (this.#judges.get(topicId) === judge) this.#judges.delete(topicId)
    }
  }

  async publish(topicId: TopicId, data: Uint8Array, { signal }: WaitOptions = {}): Promise<Published> {
    const { node, identity } = this.#init
    if (signal?.aborted) throw asMusterError(signal.reason, 'aborted')
    node.signal.throwIfAborted()
    const seqno = new Uint8Array(8)
    new DataView(seqno.buffer).setBigUint64(0, ++this.#seqno)
    const topic = gossipTopic(node.network, topicId)
    const proof = await signPubsub(identity.privateKey, { data: data.slice(), seqno, topic })
    this.#isNew(proof)
    return { peers: this.spread(topicId, proof), proof }
  }

  neighbours(topicId: TopicId): readonly PeerId[] {
    return this.#ends(topicId).map(end => end.peerId)
  }

  /** Peers from which nothing is taken any more. */
  get pruned(): readonly PeerId[] {
    return [...this.#rejects].filter(([, count]) => count >= FAKE_REJECTS).map(([peerId]) => peerId)
  }

  /** Messages it would know again. */
  get seenCount(): number {
    return this.#seen.size
  }

  /** Sends a message to the neighbours as it is: also what an attacker would. Resolves with those it went to. */
  spread(topicId: TopicId, proof: Uint8Array, except?: PeerId): readonly PeerId[] {
    const ends = this.#ends(topicId).filter(end => end.peerId !== except)
    for (const end of ends) {
      end.carry(() => void end.other.node.gossip.receive(this.#init.node.peerId, topicId, proof))
    }
    return ends.map(end => end.peerId)
  }

  async receive(from: PeerId, topicId: TopicId, proof: Uint8Array): Promise<void> {
    const judge = this.#judges.get(topicId)
    const { node } = this.#init
    if (judge === undefined || node.signal.aborted || (this.#rejects.get(from) ?? 0) >= FAKE_REJECTS) return
    if (!this.#isNew(proof)) return
    const { author, topic, data } = await openProof(proof).catch(() => ({ author: '', topic: '', data: proof }))
    if (author === node.peerId) return
    const isForged = author === '' || topic !== gossipTopic(node.network, topicId)
    const verdict = isForged ? 'reject' : await judge({ topicId, author, from, data, proof })
    if (verdict === 'accept') this.spread(topicId, proof, from)
    if (verdict === 'reject') this.#rejects.set(from, (this.#rejects.get(from) ?? 0) + 1)
  }

  #ends(topicId: TopicId): FakeEnd[] {
    const { node } = this.#init
    const ends = new Map(node.ends().map(end => [end.peerId, end]))
    return [...ends.values()].filter(({ peerId, other }) => {
      const isPruned = (this.#rejects.get(peerId) ?? 0) >= FAKE_REJECTS
      return !isPruned && other.node.network === node.network && other.node.gossip.#judges.has(topicId)
    })
  }

  #isNew(proof: Uint8Array): boolean {
    const now = this.#init.clock.now()
    for (const [key, until] of this.#seen) {
      if (until > now) break // the map's order is that of arrival
      this.#seen.delete(key)
    }
    const id = proof.subarray(-112).join() // the signature, nearly: different for every message
    if (this.#seen.has(id)) return false
    this.#seen.set(id, now + FAKE_SEEN_MS)
    return true
  }
}
