import { cancelFrame, type RefusalCode, receiptFrame, refusalFrame } from './frame.ts'

/** What is said about messages of the other side, and about our own that are given up: short, and ahead of all values. */
export class Answers {
  readonly #wake: () => void
  #frames: Uint8Array[] = []
  /** A run of messages that were taken: said at once. */
  #taken: { readonly since: number; id: number } | undefined

  /** How many wait to be said. */
  get length(): number {
    return this.#frames.length
  }

  /** `wake` is called when there is something new to say. */
  constructor(wake: () => void) {
    this.#wake = wake
  }

  /** A message of the other side was taken. */
  receipt(id: number): void {
    if (this.#taken !== undefined && this.#taken.id + 1 === id) this.#taken.id = id
    else {
      this.#sayTaken()
      this.#taken = { since: id, id }
    }
    this.#wake()
  }

  refuse(id: number, code: RefusalCode): void {
    this.say(refusalFrame(code, id))
  }

  cancel(id: number): void {
    this.say(cancelFrame(id))
  }

  say(frame: Uint8Array): void {
    this.#sayTaken()
    this.#frames.push(frame)
    this.#wake()
  }

  /** All of it, in order. */
  take(): Uint8Array[] {
    this.#sayTaken()
    const frames = this.#frames
    this.#frames = []
    return frames
  }

  #sayTaken(): void {
    if (this.#taken === undefined) return
    const { id, since } = this.#taken
    this.#taken = undefined
    this.#frames.push(receiptFrame(id, since))
  }
}
