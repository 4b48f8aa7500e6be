import type { PeerId } from '../../shared/core/address.ts'
import { asMusterError, isMusterError, MusterError } from '../../shared/core/errors.ts'
import { Slots } from '../../shared/core/slots.ts'
import type { Topic, TopicId } from '../../shared/core/topic.ts'
import type { AskOptions, AskResult, Member, Message, Receipt, SendOptions, Value, Via } from '../api.ts'
import { type OpenRequest, type RawAnswer, ReceivedMessage } from './received.ts'

/** What a group needs of messaging. */
export interface Messenger {
  send(topic: Topic, to: PeerId, value: Value, options?: SendOptions): Promise<Omit<Receipt, 'topic'>>
  ask(topic: Topic, to: PeerId, value: Value, options?: AskOptions): Promise<RawAnswer>
  /** @throws MusterError `value-invalid` | `too-large` for what can be sent to nobody. */
  judge(value: Value): void
  abandon(topicId: TopicId, peerId: PeerId): void
  retry(topicId: TopicId, peerId: PeerId): void
  forget(topicId: TopicId): Promise<void>
}

/** A message for this group, whichever way it came. */
export interface Delivery {
  readonly from: PeerId
  /** What the message says its sender calls itself. */
  readonly name?: string | undefined
  readonly id: string
  readonly value: Value
  /** `direct` when nothing is said. */
  readonly via?: Via
  readonly sentAt?: string
  readonly request?: OpenRequest | undefined
}

export interface DirectNeeds {
  readonly topic: Topic
  readonly messenger: Messenger
  /** Aborted when the group is left. */
  readonly signal: AbortSignal
  /** Those shown right now. */
  members(): readonly Member[]
  member(peerId: PeerId): { readonly name: string | undefined; readonly isShown: boolean } | undefined
  /** The member that is meant. @throws MusterError `not-a-member` | `closed`. */
  receiver(member: Member | PeerId): PeerId
  /** Gives a message to whoever listens; undefined when nobody does, false when a listener threw. */
  offer(message: Message): boolean | Promise<boolean> | undefined
}

/** Members asked at the same time. */
const MAX_PARALLEL_ASKS = 64

/** Messages between this peer and single members of one group. */
export class DirectMessages {
  readonly #needs: DirectNeeds

  constructor(needs: DirectNeeds) {
    this.#needs = needs
  }

  async send(member: Member | PeerId, value: Value, options: SendOptions = {}): Promise<Receipt> {
    const to = idOf(member)
    const { topic, messenger, signal } = this.#needs
    const isAway = !signal.aborted && this.#needs.member(to)?.isShown !== true
    if (!isAway || !options.waitMs) this.#needs.receiver(to)
    try {
      const { id, rttMs } = await messenger.send(topic, to, value, options)
      return { to, topic: topic.name, id, rttMs }
    } catch (thrown) {
      if (isAway && isMusterError(thrown, 'unreachable')) this.#needs.receiver(to) // it did not come in time
      throw thrown
    }
  }

  async ask(member: Member | PeerId, value: Value, options: AskOptions = {}): Promise<Message> {
    const to = this.#needs.receiver(member)
    const { topic, messenger } = this.#needs
    const { id, value: answer, request } = await messenger.ask(topic, to, value, options)
    return this.#received({ from: to, id: String(id), value: answer, request })
  }

  async *askMany(
    members: 'all' | ReadonlyArray<Member | PeerId>,
    value: Value,
    options: AskOptions = {}
  ): AsyncGenerator<AskResult> {
    this.#needs.messenger.judge(value)
    const whom = members === 'all' ? this.#needs.members() : members
    const peerIds = [...new Set(whom.map(idOf))]
    const slots = new Slots(MAX_PARALLEL_ASKS)
    const over = new AbortController()
    const signal = options.signal === undefined ? over.signal : AbortSignal.any([over.signal, options.signal])
    const ready: AskResult[] = []
    let failure: MusterError | undefined
    let wake = (): void => undefined
    for (const peerId of peerIds) {
      void slots
        .run(() => this.ask(peerId, value, { ...options, signal }), signal)
        .then(
          reply => ready.push({ peerId, outcome: 'answered', reply }),
          thrown => {
            const error = asMusterError(thrown, signal.aborted ? 'aborted' : 'closed')
            const outcome = outcomeOf(error)
            if (outcome === undefined) failure ??= error
            else ready.push({ peerId, outcome, error })
          }
        )
        .finally(() => wake())
    }
    try {
      for (let left = peerIds.length; left > 0; left--) {
        while (ready.length === 0 && failure === undefined) {
          await new Promise<void>(resolve => {
            wake = resolve
          })
        }
        if (failure !== undefined) throw failure
        yield ready.shift() as AskResult
      }
    } finally {
      over.abort(new MusterError('aborted', 'nobody takes further answers'))
    }
  }

  /** Hands a message that came for this group to whoever listens. */
  deliver(delivery: Delivery): void | Promise<void> {
    const taken = this.#needs.offer(this.#received(delivery))
    if (taken === undefined) throw new MusterError('no-handler', 'nobody listens for messages')
    if (taken === false) throw new MusterError('handler-failed', 'a listener threw')
    if (taken === true) return
    return taken.then(isTaken => {
      if (!isTaken) throw new MusterError('handler-failed', 'a listener rejected')
    })
  }

  #received(delivery: Delivery): ReceivedMessage {
    const name = this.#needs.member(delivery.from)?.name ?? delivery.name
    return new ReceivedMessage(delivery, name, this.#needs.topic.name)
  }
}

function idOf(member: Member | PeerId): PeerId {
  return typeof member === 'string' ? member : member.peerId
}

/** Undefined: not the member's doing. */
function outcomeOf({ code }: MusterError): Exclude<AskResult['outcome'], 'answered'> | undefined {
  switch (code) {
    case 'timed-out':
      return 'timed-out'
    case 'gone':
    case 'closed':
    case 'unreachable':
    case 'not-a-member':
      return 'gone'
    case 'aborted':
    case 'value-invalid':
    case 'options-invalid':
      return undefined
    default:
      return 'refused'
  }
}
