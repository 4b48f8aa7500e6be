import { type Job, type Spent, stopwatch } from './job.ts'
import { checkMessage, checkPart } from './payload.ts'

/** What the answering end waits for: counts and checks what comes. */
export class Arrival {
  readonly done: Promise<Spent>
  readonly #job: Job
  readonly #spent = stopwatch()
  readonly #end = Promise.withResolvers<bigint>()
  #count = 0
  #bytes = 0

  constructor(job: Job) {
    this.#job = job
    this.#end.promise.catch(() => undefined) // whoever asks hears of it
    this.done = this.#end.promise.then(endNs => this.#spent({}, endNs))
    this.done.catch(() => undefined)
  }

  /** Takes the next message. */
  message(message: unknown): void {
    this.#check(() => checkMessage(message, this.#count, this.#job.bytes))
    if (++this.#count === this.#job.count) this.#end.resolve(process.hrtime.bigint())
  }

  /** Takes the next part of a value. */
  part(part: unknown): void {
    this.#check(() => {
      if (!(part instanceof Uint8Array)) throw new Error(`a part of the value came as ${typeof part}`)
      checkPart(part, this.#bytes)
      this.#bytes += part.length
    })
    if (this.#bytes === this.#job.bytes) this.#end.resolve(process.hrtime.bigint())
  }

  #check(check: () => void): void {
    try {
      check()
    } catch (error) {
      this.#end.reject(error)
    }
  }
}
