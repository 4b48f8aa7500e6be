import type { Deadline } from '../../shared/core/deadlines.ts'
import { isMusterError, MusterError } from '../../shared/core/errors.ts'
import type { TopicId } from '../../shared/core/topic.ts'
import type { Exchange, Incoming } from './exchange.ts'
import type { RefusalCode } from './frame.ts'

type Outcome = 'taken' | RefusalCode
type Finish = (outcome: Outcome) => void

export interface SenderNeeds {
  /** Messages that may come again and are remembered: as many as may be without a receipt over there. */
  readonly maxRemembered: number
  deliver(incoming: Incoming): void | Promise<void>
  onJudged(outcome: Outcome): void
}

/**
 * One sender in one topic, over all the streams of one of its runs. Its messages go to the application one after the
 * other; those that ask for an answer are begun in the same order, and the next one does not wait for the answer.
 */
export class Sender {
  readonly topicId: TopicId
  readonly session: number
  readonly #needs: SenderNeeds
  /** When it is forgotten, once its last stream is over. */
  expiry: Deadline | undefined
  #exchange: Exchange | undefined
  #isBusy = false
  /** The last of the runs that wait for what one of them gave to the application; they share it. */
  #runs: { last: Sender } = { last: this }
  readonly #queue: Array<{ readonly incoming: Incoming; readonly finish: Finish }> = []
  /** What came of messages that may come again. */
  readonly #outcomes = new Map<number, Outcome>()
  /** Messages that may come again and are with the application, or wait for it. */
  readonly #pending = new Map<number, Finish>()

  constructor(topicId: TopicId, session: number, needs: SenderNeeds) {
    this.topicId = topicId
    this.session = session
    this.#needs = needs
  }

  /** What is spoken over now, if anything. */
  get exchange(): Exchange | undefined {
    return this.#exchange
  }

  /** Something may come again. */
  get isMemorable(): boolean {
    return this.#outcomes.size > 0 || this.#pending.size > 0 || this.#isBusy
  }

  /** A sender has one stream per topic. When it opens another, the one before is dead to it, even if we do not know yet. */
  replace(exchange: Exchange | undefined): void {
    const replaced = new MusterError('closed', 'the sender opened another stream for the topic')
    this.#exchange?.end(replaced)
    this.#exchange?.channel.abort(replaced)
    this.#exchange = exchange
    this.dropQueue()
  }

  /** The stream takes no answer any more: what waits for the application is neither given to it nor remembered. */
  dropQueue(): void {
    for (const { incoming, finish } of this.#queue.splice(0)) {
      this.#pending.delete(incoming.id) // what may come again, comes again
      finish('aborted')
    }
  }

  /** The sender started anew. What the application works on is finished first: one after the other, over all its runs. */
  giveWayTo(next: Sender): void {
    this.replace(undefined)
    this.expiry?.stop()
    if (!this.#isBusy) return
    this.#runs.last = next
    next.#runs = this.#runs
    next.#isBusy = true
  }

  release(exchange: Exchange): void {
    if (this.#exchange === exchange) this.#exchange = undefined
  }

  take(incoming: Incoming, finish: Finish): void {
    const { id, mayRepeat } = incoming
    if (mayRepeat) {
      const outcome = this.#outcomes.get(id)
      const earlier = this.#pending.get(id)
      earlier?.('aborted') // that stream is gone; only its room is freed
      if (outcome === undefined) this.#pending.set(id, finish)
      else finish(outcome)
      if (earlier !== undefined || outcome !== undefined) return // not again: the answer goes to where it came last
    }
    if (this.#isBusy || this.#queue.length > 0) this.#queue.push({ incoming, finish })
    else this.#deliver(incoming, finish)
  }

  #deliver(incoming: Incoming, finish: Finish): void {
    try {
      const taking = this.#needs.deliver(incoming)
      if (taking === undefined) this.#finish(incoming, finish, 'taken')
      else void this.#wait(taking, incoming, finish)
    } catch (thrown) {
      this.#finish(incoming, finish, codeOf(thrown))
    }
  }

  async #wait(taking: Promise<void>, incoming: Incoming, finish: Finish): Promise<void> {
    const holdsUp = incoming.request === undefined
    if (holdsUp) this.#isBusy = true
    const outcome = await taking.then(() => 'taken' as const, codeOf)
    this.#finish(incoming, finish, outcome)
    if (holdsUp) this.#runs.last.#goOn()
  }

  #goOn(): void {
    this.#isBusy = false
    for (let next = this.#queue.shift(); next !== undefined; next = this.#isBusy ? undefined : this.#queue.shift()) {
      this.#deliver(next.incoming, next.finish)
    }
  }

  #finish({ id, mayRepeat }: Incoming, finish: Finish, outcome: Outcome): void {
    this.#needs.onJudged(outcome)
    const last = this.#pending.get(id) ?? finish
    if (mayRepeat) this.#remember(id, outcome)
    last(outcome)
  }

  #remember(id: number, outcome: Outcome): void {
    this.#pending.delete(id)
    this.#outcomes.set(id, outcome)
    const [oldest] = this.#outcomes.keys()
    if (this.#outcomes.size > this.#needs.maxRemembered && oldest !== undefined) this.#outcomes.delete(oldest)
  }
}

/** Only our own codes go over; what an application throws is its own affair. */
function codeOf(thrown: unknown): RefusalCode {
  if (isMusterError(thrown, 'no-handler') || isMusterError(thrown, 'not-a-member')) return thrown.code as RefusalCode
  return 'handler-failed'
}
