import type { Clock } from './clock.ts'

/** One wait that ends after a while, unless it is stopped first. */
export interface Deadline {
  stop(): void
  /** Begins anew: something happened. */
  restart(): void
}

/**
 * Many deadlines of a few lengths on one timer for each length: a timer of its own for each of 100,000 sends a second
 * costs more than the sends. They run on monotonic time: on the wall's, one set back an hour would hold up all those behind
 * the first for an hour.
 */
export class Deadlines {
  readonly #clock: Clock
  readonly #lanes = new Map<number, Lane>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Calls `run` once after `ms`; never when that is infinite. */
  after(ms: number, run: () => void): Deadline {
    if (ms === Number.POSITIVE_INFINITY) return NEVER
    let lane = this.#lanes.get(ms)
    if (lane === undefined) {
      lane = new Lane(this.#clock, ms, () => this.#lanes.delete(ms))
      this.#lanes.set(ms, lane)
    }
    return new Entry(lane, run)
  }
}

const NEVER: Deadline = { stop: () => undefined, restart: () => undefined }

/** Entries of one length, the next to fall due first: whatever begins goes to the end. */
class Lane {
  readonly ms: number
  readonly clock: Clock
  first: Entry | undefined
  last: Entry | undefined
  readonly #onEmpty: () => void
  #hasTimer = false

  constructor(clock: Clock, ms: number, onEmpty: () => void) {
    this.clock = clock
    this.ms = ms
    this.#onEmpty = onEmpty
  }

  append(entry: Entry): void {
    entry.dueMs = this.clock.monotonic() + this.ms
    entry.previous = this.last
    if (this.last === undefined) this.first = entry
    else this.last.next = entry
    this.last = entry
    if (!this.#hasTimer) this.#arm(this.ms)
  }

  unlink(entry: Entry): void {
    const { previous, next } = entry
    if (previous === undefined) this.first = next
    else previous.next = next
    if (next === undefined) this.last = previous
    else next.previous = previous
    entry.previous = undefined
    entry.next = undefined
  }

  #arm(pauseMs: number): void {
    this.#hasTimer = true
    this.clock.after(pauseMs, () => this.#runDue())
  }

  #runDue(): void {
    const now = this.clock.monotonic()
    for (let entry = this.first; entry !== undefined && entry.dueMs <= now; entry = this.first) entry.end()
    this.#hasTimer = false
    if (this.first === undefined) this.#onEmpty()
    else this.#arm(Math.max(1, this.first.dueMs - now))
  }
}

class Entry implements Deadline {
  dueMs = 0
  previous: Entry | undefined
  next: Entry | undefined
  readonly #lane: Lane
  readonly #run: () => void
  #isOver = false

  constructor(lane: Lane, run: () => void) {
    this.#lane = lane
    this.#run = run
    lane.append(this)
  }

  stop(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#lane.unlink(this)
  }

  restart(): void {
    if (this.#isOver) return
    this.#lane.unlink(this)
    this.#lane.append(this)
  }

  end(): void {
    this.stop()
    this.#run()
  }
}
