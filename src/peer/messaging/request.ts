import { MusterError } from '../../shared/core/errors.ts'
import type { AskOptions, SendOptions, Value } from '../api.ts'
import type { Answer } from './exchange.ts'
import type { Sent } from './outgoing.ts'

/** A message whose sender waits for an answer. It can be answered once. */
export interface Request {
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal
  /** @throws MusterError as `send`; `refused` when it was answered already. */
  respond(value: Value, options?: SendOptions): Promise<Sent>
  /** Answers with a question: resolves with the answer to that. @throws MusterError as `ask`. */
  ask(value: Value, options?: AskOptions): Promise<Answer>
}

/** Sends what answers a request over the stream it came by. */
export type Reply = (request: OpenRequest, value: Value, wantsReply: boolean, options: SendOptions) => Promise<Sent>

export class OpenRequest implements Request {
  readonly id: number
  isAnswered = false
  /** It takes one of the places of messages that have no receipt. */
  isCounted: boolean
  readonly #reply: Reply
  #cancelled: MusterError | undefined
  /** Made when somebody asks for the signal: most handlers answer at once. */
  #controller: AbortController | undefined

  constructor(id: number, isCounted: boolean, reply: Reply) {
    this.id = id
    this.isCounted = isCounted
    this.#reply = reply
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#cancelled !== undefined) this.#controller.abort(this.#cancelled)
    }
    return this.#controller.signal
  }

  async respond(value: Value, options: SendOptions = {}): Promise<Sent> {
    return await this.#answer(value, false, options)
  }

  async ask(value: Value, options: AskOptions = {}): Promise<Answer> {
    const { answer } = await this.#answer(value, true, options)
    if (answer === undefined) throw new MusterError('closed')
    return answer
  }

  cancel(reason: MusterError): void {
    if (this.#cancelled !== undefined) return
    this.#cancelled = reason
    this.#controller?.abort(reason)
  }

  #answer(value: Value, wantsReply: boolean, options: SendOptions): Promise<Sent> {
    if (this.isAnswered) throw new MusterError('refused', 'the message was answered already')
    if (this.#cancelled !== undefined) throw this.#cancelled
    const sent = this.#reply(this, value, wantsReply, options) // what cannot be sent leaves it unanswered
    this.isAnswered = true
    return sent
  }
}
