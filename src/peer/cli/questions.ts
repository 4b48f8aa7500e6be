import { MusterError } from '../../shared/core/errors.ts'
import type { Message, Value } from '../api.ts'

/** Questions of members that wait for an answer of whoever types; the oldest is forgotten beyond that. */
export const MAX_QUESTIONS = 100

/** Questions that came, by a number that is easy to type. */
export class Questions {
  readonly #open = new Map<number, Message>()
  #last = 0

  /** Keeps a question while its sender waits; undefined for a message that is none. */
  add(message: Message): number | undefined {
    if (!message.wantsReply) return undefined
    const number = ++this.#last
    this.#open.set(number, message)
    message.signal.addEventListener('abort', () => this.#open.delete(number), { once: true })
    const [oldest] = this.#open.keys()
    if (this.#open.size > MAX_QUESTIONS && oldest !== undefined) this.#open.delete(oldest)
    return number
  }

  /** Answers a question. @throws MusterError `command-invalid` when nobody waits for the answer. */
  async answer(number: number, value: Value): Promise<Message> {
    const message = this.#open.get(number)
    if (message === undefined) throw nobody(number)
    const receipt = await message.respond(value)
    this.#open.delete(number)
    if (receipt === undefined) throw nobody(number)
    return message
  }
}

function nobody(number: number): MusterError {
  return new MusterError('command-invalid', `nobody waits for an answer to question ${number}`)
}
