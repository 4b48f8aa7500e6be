import { type ErrorCode, isMusterError, MusterError } from '../../shared/core/errors.ts'
import type { AskOptions, Value } from '../api.ts'
import type { Answer } from './exchange.ts'
import type { Sent } from './outgoing.ts'

/** A message whose sender waits for an answer. It can be answered once. */
export interface Request {
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal
  /**
   * Undefined when nobody took the answer.
   * @throws MusterError `refused` when it was answered already; `value-invalid` | `too-large` | `limit-reached` | `options-invalid`.
   */
  respond(value: Value, options?: AskOptions): Promise<Sent | undefined>
  /** Answers with a question: resolves with the answer to that. @throws MusterError as `ask`. */
  ask(value: Value, options?: AskOptions): Promise<Answer>
}

/** Sends what answers a request over the stream it came by. */
export type Reply = (request: OpenRequest, value: Value, wantsReply: boolean, options: AskOptions) => Promise<Sent>

/**
 * Not the fault of who answers, and nothing to be done about: whoever asked has heard of it, or is not there any more.
 * A handler that answers and thinks no further must not fail, or end its program, because somebody left.
 */
const NOBODY_TAKES_IT: ReadonlySet<ErrorCode> = new Set(['aborted', 'closed', 'gone', 'timed-out'])

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

  async respond(value: Value, options: AskOptions = {}): Promise<Sent | undefined> {
    try {
      return await this.#answer(value, false, options)
    } catch (thrown) {
      const isOwn = options.signal?.aborted === true
      if (!isOwn && isMusterError(thrown) && NOBODY_TAKES_IT.has(thrown.code)) return undefined
      throw thrown
    }
  }

  async ask(value: Value, options: AskOptions = {}): Promise<Answer> {
    const { answer } = await this.#answer(value, true, options)
    return answer as Answer // a request ends with one, or throws
  }

  cancel(reason: MusterError): void {
    if (this.#cancelled !== undefined) return
    this.#cancelled = reason
    this.#controller?.abort(reason)
  }

  #answer(value: Value, wantsReply: boolean, options: AskOptions): Promise<Sent> {
    if (this.isAnswered) throw new MusterError('refused', 'the message was answered already')
    if (this.#cancelled !== undefined) throw this.#cancelled
    const sent = this.#reply(this, value, wantsReply, options) // what cannot be sent leaves it unanswered
    this.isAnswered = true
    return sent
  }
}
