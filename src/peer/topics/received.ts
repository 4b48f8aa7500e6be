import type { PeerId } from '../../shared/core/address.ts'
import { MusterError } from '../../shared/core/errors.ts'
import type { AskOptions, Message, Receipt, Value, Via } from '../api.ts'
import type { Delivery } from './direct.ts'

/** An answer as messaging knows it. */
export interface RawAnswer {
  readonly id: number
  readonly value: Value
  readonly request: OpenRequest | undefined
}

/** What messaging offers where the sender waits for an answer. */
export interface OpenRequest {
  readonly signal: AbortSignal
  respond(value: Value, options?: AskOptions): Promise<{ readonly id: number; readonly rttMs: number } | undefined>
  ask(value: Value, options?: AskOptions): Promise<RawAnswer>
}

/** A message as the application gets it. */
export class ReceivedMessage implements Message {
  readonly from: PeerId
  readonly name: string | undefined
  readonly topic: string
  readonly id: string
  readonly value: Value
  readonly via: Via
  readonly sentAt: string | undefined
  readonly #request: OpenRequest | undefined
  #never: AbortSignal | undefined

  constructor({ from, id, value, via = 'direct', sentAt, request }: Delivery, name: string | undefined, topic: string) {
    this.from = from
    this.name = name
    this.topic = topic
    this.id = id
    this.value = value
    this.via = via
    this.sentAt = sentAt
    this.#request = request
  }

  get wantsReply(): boolean {
    return this.#request !== undefined
  }

  get signal(): AbortSignal {
    if (this.#request !== undefined) return this.#request.signal
    this.#never ??= new AbortController().signal // of its own: what is added to it goes with the message
    return this.#never
  }

  async respond(value: Value, options?: AskOptions): Promise<Receipt | undefined> {
    const sent = await this.#open().respond(value, options)
    return sent && { to: this.from, topic: this.topic, id: String(sent.id), rttMs: sent.rttMs }
  }

  async ask(value: Value, options?: AskOptions): Promise<Message> {
    const { from, name, topic } = this
    const { id, value: answer, request } = await this.#open().ask(value, options)
    return new ReceivedMessage({ from, id: String(id), value: answer, request }, name, topic)
  }

  #open(): OpenRequest {
    if (this.#request === undefined) throw new MusterError('refused', 'the sender does not wait for an answer')
    return this.#request
  }
}
