import type { Clock } from '../core/clock.ts'
import type { TopicId } from '../core/topic.ts'
import type { Node } from '../node/port.ts'
import { MAX_FAREWELLS } from './limits.ts'
import { type MemberRecord, signRecord } from './record.ts'

/** What this node says about itself: one signed record per topic it is in, each newer than everything said before. */
export class OwnRecords {
  readonly #node: Pick<Node, 'seal' | 'peerId' | 'addresses'>
  readonly #clock: Clock
  readonly #validityMs: number
  readonly #memberships = new Map<TopicId, { record: MemberRecord }>()
  readonly #farewells = new Map<TopicId, MemberRecord>()
  /** Goodbyes that are being signed. */
  readonly #leaving = new Map<TopicId, Promise<MemberRecord>>()
  #lastSequence = 0

  constructor(node: Pick<Node, 'seal' | 'peerId' | 'addresses'>, clock: Clock, validityMs: number) {
    this.#node = node
    this.#clock = clock
    this.#validityMs = validityMs
  }

  get(topicId: TopicId): MemberRecord | undefined {
    return this.#memberships.get(topicId)?.record
  }

  topics(): TopicId[] {
    return [...this.#memberships.keys()]
  }

  /** The goodbye said when a topic was left, for those the news of our joining is still on its way to. */
  farewell(topicId: TopicId): MemberRecord | undefined {
    return this.#farewells.get(topicId)
  }

  /** The same for somebody who asks just now, when the goodbye may still be being signed. */
  async lastWord(topicId: TopicId): Promise<MemberRecord | undefined> {
    return (await this.#leaving.get(topicId)) ?? this.#farewells.get(topicId)
  }

  async enter(topicKey: Uint8Array, name: string | undefined): Promise<void> {
    const record = await this.#sign(topicKey, name, false)
    this.#farewells.delete(record.topicId)
    this.#memberships.set(record.topicId, { record })
  }

  /** Ends the membership at once; resolves with the goodbye, or undefined when we were not in the topic. */
  async leave(topicId: TopicId): Promise<MemberRecord | undefined> {
    const own = this.get(topicId)
    if (own === undefined) return undefined
    this.#memberships.delete(topicId)
    const leaving = this.#signGoodbye(own).finally(() => this.#leaving.delete(topicId))
    this.#leaving.set(topicId, leaving)
    return await leaving
  }

  /** Whether our record is to be renewed: a third of its validity is over, or the clock went back to before it. */
  isDue(topicId: TopicId): boolean {
    const record = this.get(topicId)
    if (record === undefined) return false
    const ageMs = this.#clock.now() - record.issuedMs
    return ageMs < 0 || ageMs >= this.#validityMs / 3
  }

  /** A fresh record; undefined when the topic was left meanwhile, or a later renewal was faster. */
  async renew(topicId: TopicId): Promise<MemberRecord | undefined> {
    const membership = this.#memberships.get(topicId)
    if (membership === undefined) return undefined
    const next = await this.#sign(membership.record.topicKey, membership.record.name, false)
    // signing takes a while: a goodbye said in between must stay the last word
    if (this.#memberships.get(topicId) !== membership || membership.record.sequence >= next.sequence) return undefined
    membership.record = next
    return next
  }

  /** Everything said from now on is newer than `sequence`. */
  outdo(sequence: number): void {
    this.#lastSequence = Math.max(this.#lastSequence, sequence)
  }

  async #signGoodbye({ topicKey, topicId }: MemberRecord): Promise<MemberRecord> {
    const goodbye = await this.#sign(topicKey, undefined, true)
    this.#farewells.set(topicId, goodbye)
    const [oldest] = this.#farewells.keys()
    if (this.#farewells.size > MAX_FAREWELLS && oldest !== undefined) this.#farewells.delete(oldest)
    return goodbye
  }

  async #sign(topicKey: Uint8Array, name: string | undefined, left: boolean): Promise<MemberRecord> {
    const now = this.#clock.now()
    const sequence = Math.max(now, this.#lastSequence + 1)
    this.#lastSequence = sequence
    return await signRecord(this.#node, {
      topicKey,
      sequence,
      issuedMs: now,
      expiresMs: now + this.#validityMs,
      addresses: left ? [] : this.#node.addresses,
      name,
      left
    })
  }
}
